// Package election decides which node announces which address.
//
// It is pure: no clock, no I/O, no goroutine. What it knows comes as arguments, what it decides comes back as values,
// and the same arguments give the same result on every node.
//
// # Claims
//
// A [Claim] says that a node holds an address. Claims are ordered for each address: the higher sequence number wins,
// and between equal numbers the address's own ranking of the nodes ([Rank]). [Claims] keeps the winner of each address.
// Merging is therefore commutative, associative and idempotent (a join-semilattice): speakers that have seen the same
// claims, in whatever order and however often, agree.
//
// # Plan
//
// [Plan] says which node should hold each address, from the claims and from who may hold what:
//
//  1. the preferred node of the address, if it is eligible;
//  2. else the holder, as long as it is eligible: a returning node takes nothing back;
//  3. else the eligible node with the fewest addresses, ties broken by [Rank].
//
// Nodes that are draining come last: they keep an address only if nobody else may hold it.
//
// # Node
//
// A [Node] decides for one speaker, from all that the speaker sees at a moment (a [View]): what to answer for, what to
// claim, when to fall silent. Time comes with the View.
//
//   - It claims what Plan gives to it and another holds, and answers for what its own claims hold. So a planned move is
//     make-before-break by construction: the old holder goes on answering until it hears of the claim that beats its own,
//     and the new holder has announced by then.
//   - An address that nobody has claimed since somebody began to want it is probed on the LAN before it is claimed. A
//     failover probes nothing.
//   - When what it knows may be from the past (the node was paused, its link was down, it lost sight of its peers) it
//     answers for nothing until it has merged its peers' claims, or, with none in reach, until a short fence is over. Then it
//     serves its own side: a node alone, or one half of a split LAN.
//   - A node that loses all of several peers at once claims nothing: it may be cut off itself. When nobody answers a roll call of
//     its peers either, it answers whoever asks it on its side; and if it hears hosts there that are no peers, it announces, too.
//     When it has met its peers again these announce once more what they hold ([Ledger.Vain]).
//   - An address taken from a live peer is not taken again at once, since views that differ would fight over it.
//
// # The wire watch
//
// Heartbeats between processes have to be patient, since processes are held up. The kernel of a node answers ARP requests
// and neighbour solicitations for the node's own address whatever its processes do. So nodes ask each other for that, each
// 100 ms, and each 10 ms once an answer is overdue; a [Sentry] misses the answers after 120 ms, or later where a node was slow of
// late. A process that ends is told by its kernel as well, at once. [Silent] counts the votes: a node is dead when more than half
// of its watchers say so, of which there are up to three ([Watchers]), so the work for a node does not grow with the cluster.
//
// A node that was taken for dead by mistake loses its addresses, and nothing else: it hears of the claims that beat its
// own, and takes nothing back.
//
// Nobody is woken to answer, and who asks is woken only to ask: answers wait in its socket until the next question is due. With that,
// and a timer that costs one wake-up, the watch takes about half of what a speaker needs at rest.
//
// Those who could say that a node is gone may be in another part of a LAN that has fallen apart. So when a node is silent by the word of
// some and not of enough, or all are that a node watches, all members are asked for a sign of life at once (a roll call, see package
// membership). Who gives none has no voice, and if no more than half of all do, the others are gone.
//
// A node that should be a member and is none is asked as well, each 100 ms at first and ever more rarely ([SeekInterval]): its
// answer is the first sign that a partition is over.
//
// # The lower bound
//
// Where the time of a failover goes, when a node vanishes and another one takes its address:
//
//	0-100 ms until the next question is sent that will not be answered: half of [ProbeInterval] on average
//	120 ms   of patience, in which three questions stay unanswered (at 0, 100 and 110 ms)
//	< 1 ms   for the votes: each watcher has told the others by then, or does so now
//	1-10 ms  for Plan, the claim and the first gratuitous frame; 1,000 addresses make half a second of frames
//
// So 120 to 220 ms, 170 on average, is what this way of watching takes, 190 where the later of two watchers counts; no other part of
// it can be made much shorter. Half of the patience would leave one lost frame between a busy LAN and a false failover, whose price is
// every connection of the address; questions twice as often would cost each node twice as many wake-ups at rest, for 25 ms. A process
// that ends costs no patience, since its kernel says so within a round trip; that is looked at with the next question. None of this
// grows with the cluster, because each node is watched by three at most: see the figures in package membership.
package election
