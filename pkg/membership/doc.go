// Package membership tells which speakers are alive and carries the claims between them.
//
// It is hashicorp/memberlist (SWIM with the Lifeguard extensions) with a profile for a LAN on which an answer takes well
// below a millisecond, see [Start]. Nothing goes through the Kubernetes API: with the API away, failures are still seen
// and addresses still move.
//
// Claims travel three ways: at once to each member by one datagram, which is repeated some times ([Repeats]); then with the gossip,
// passed on by whoever learned something new from it; and in full whenever two members exchange their state, as they do when one
// joins, and when the digests differ that each tells some other one every 10 seconds. A lost datagram costs time, never agreement. The
// gossip is slow, since it wakes every speaker also when nothing is new.
//
// What a member observes travels in the same ways, as one report of each member ([Members.Report]); the newest counts. What it
// is able to do is part of memberlist's own messages ([Meta]). A member may be an observer, which only listens: the controller.
// Observers alone hear what a member announces ([Members.Hold]): all of it, as one message over TCP.
//
// # How a failure is seen
//
// A heartbeat between processes is patient, since processes are held up, and rare, since it wakes both. The profile finds a member
// dead after two seconds at the earliest, mostly after 3 to 6 s. Two things are faster. A process that ends is told by its kernel:
// [Members.Attend] keeps a connection to each peer that is watched, which is closed and then refused, within one round trip. A
// node that is gone does not answer on the wire any more: that is the business of the speaker (election.Sentry), 0.12 to 0.22 s.
// The heartbeats remain for what these can't see: a process that hangs, nodes that share no subnet.
//
// They are no good at finding out that most members are gone at once, since they ask one after the other, and those that could say so on
// the wire may be gone as well. So a speaker that has cause to think so calls the roll ([Members.CallRoll]): it asks all at once, for a
// second. Whoever is heard of in any way, a datagram or a connection, is there.
//
// # How it grows
//
// By simulation (`make sim GROW=1`; ten addresses, a network with a delay of some 0.1 ms), in milliseconds from the fault until the
// last address is claimed, and until all know of that:
//
//	nodes                          3          10         100        1000
//	power lost, median (worst)     192 (223)  173 (216)  178 (219)  156 (183)
//	all know, median (worst)       194 (228)  177 (220)  183 (225)  161 (188)
//	process ends, median (worst)   77 (111)   58 (99)    57 (96)    33 (62)
//	process hangs, the same        2961 (5165) 3271 (6204) 4765 (5839) 5987 (8876)
//	sent by each node at rest      2 datagrams and 20 to 30 questions on the wire in a second, at any size
//
// The time does not grow, for nobody waits for more than three watchers. What is sent about a failure does: some 45 datagrams for
// each node of the cluster, since each of those that take over tells each member, five times.
//
// Nobody asks all of hundreds for what one of them knows: a member that joins, or that doubts what it knows, asks a few, and others if
// these don't answer ([Members.JoinAll], [Members.JoinAny]). One that is said to be dead is asked by a datagram of each member whether it
// lives, and told by a few what is said of it: when it is slow itself it must not have to tell all that it knows to everybody. A roll call
// does ask all; in a large cluster only those call it that miss somebody on the wire themselves.
//
// # Versions
//
// During a rollout members of two releases talk to each other. Messages of a kind that a member does not know are skipped, inside a
// state too, and so are fields of reports and holdings and flags of a [Meta]. So a later release says more by another kind, another
// field or another flag. Claims have no room for more, and their order ([election.Claim.Beats], [election.Rank]) is the same for all.
// What is out is fixed by a test, byte for byte. A digest means nothing to releases before it: what got lost on the way to one of those is
// repeated by the datagrams and the gossip only.
//
// # Keys
//
// Everything but the connections of presence, over which nothing is said, is encrypted and authenticated (AES-256-GCM) with a
// key derived from a Secret by [DeriveKey]. [Members.Rotate] goes over to another key without a gap.
package membership
