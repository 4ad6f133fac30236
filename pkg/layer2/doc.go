// Package layer2 makes this node answer for exactly the addresses it is told to.
//
// [Announcer.Set] takes the whole desired state: a map from address to how it is announced. The rest follows:
//
//	desired state + interfaces (netif) -> which interface carries which address
//	                                   -> the set of each interface's responder, replaced as a whole
//	                                   -> the gratuitous schedule: one entry for each address on each interface
//
// A pair of address and interface that is new is announced at once and then again by the schedule, whatever made it new:
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
// # Who waits for whom
//
// One lock guards the state; it is held while responders take their new sets, which waits for no network. Frames are
// answered without it. OnChange is called from a goroutine of its own.
package layer2
