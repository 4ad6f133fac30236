// Package layer2 makes this node answer for exactly the addresses it is told to.
//
// [Announcer.Set] takes the whole desired state: a map from address to how it is announced. The rest follows:
//
//	desired state + interfaces (netif) -> which interface carries which address
//	                                   -> the set of each interface's responder, replaced as a whole
//	                                   -> the gratuitous schedule: one entry for each address on each interface
//
// A pair of held address and interface that is new is announced at once and then again by the schedule, whatever made it new:
// the address was desired, the interface appeared, its link came back, its MAC changed. Nothing is done by increments, so
// a responder that is born late holds what all others hold.
//
// # The gratuitous schedule
//
// Each pair is announced 0, 0.2, 1.2, 2.3, 3.4 and 4.5 seconds after it became new, and then every 90 seconds (with some
// jitter, below the time in which switches forget). Linux ignores a change of an ARP entry less than one second after
// the last one, hence the steps of more than a second. Frames are paced. When a thousand addresses move at once, the
// first announcement of each goes out before the second of any.
//
// # Is an address free?
//
// An address that is desired as tentative ([Announcement.Tentative]) is probed for and watched on each interface that
// would carry it, and not answered. A round is three probes 150 ms apart and one more such pause. If nobody was heard of
// on any interface the address is free ([Announcer.Free]); that is made sure of again every ten seconds until the address
// is claimed or not desired any more. If somebody has it, or probes for it too, there is a conflict, and the next round
// comes after 10 s, then 20, 40, and from then on 60 s (RFC 5227 section 2.1.1, RFC 4862 section 5.4), or much sooner if those who
// have addresses are known to be about to give them up ([Announcer.SetHurry]). A round that can't
// prove anything is repeated: a probe could not be sent, or more was said on the LAN than could be listened to. When an
// interface comes, goes, changes or loses its link, what was known is not known any more. Probes share the pace of the
// gratuitous frames, and give way to first announcements: a failover, which never probes, does not wait for them.
//
// # Who else has an address?
//
// Responders report each frame in which somebody else claims a desired address. If its MAC is that of any interface of
// this node, it means nothing. If it is a peer's ([Announcer.SetPeers]) the two don't agree who holds the address:
// [Config.OnPeer] is called, whose answer may be [Announcer.Defend]. All others are foreign: there is a [Conflict], of
// which the owner hears by OnNews. A held address is never given up for that; it is defended by one announcement at most
// every ten seconds on each interface (RFC 5227 section 2.4, case c). What is kept is one conflict for each desired
// address, whatever is said on the LAN.
//
// # Who waits for whom
//
// One lock guards the state; it is held while responders take their new sets, which waits for no network. Frames are
// answered without it, and what responders report goes through a channel of limited length: what doesn't fit is counted,
// and lost. OnChange and OnNews are called from a goroutine of their own.
package layer2
