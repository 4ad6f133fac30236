// Command sim lets many speakers live through schedules of faults, in virtual time, and checks that each address has exactly
// one holder all the same. `make sim SCHEDULES=10000` prints a line of JSON; `make sim SEED=n` tells the course of one schedule.
//
// # What is real
//
// The decisions: election.Node, Ledger, Sentry, Watchers, Targets and Silent run as they are. Everything around them is a model, each
// part in a file of its own:
//
//	clock.go       virtual time and chance: one queue of events, one seeded source, so a seed replays exactly
//	network.go     frames that take their time, get lost, come twice or overtake each other; TCP on top of them
//	machine.go     a node: power, cable, its kernel, and the speaker's process, which may be killed or paused
//	speaker.go     pkg/speaker, with each wait as an event
//	watch.go       its wire watch, and the presence of pkg/membership
//	roll.go        roll calls of pkg/speaker and pkg/membership
//	membership.go  pkg/membership: how claims and reports travel
//	swim.go        memberlist: probes, suspicion, Lifeguard, refutation, push/pull
//	gossip.go      its queue of broadcasts
//	announce.go    gratuitous frames, as far as other speakers take notice
//	cluster.go     the API server, and when each speaker hears of a change
//	faults.go      what goes wrong, and when
//	checker.go     who answers, for how long none or two do
//	causes.go      why addresses move
//
// # What is promised
//
//  1. [settle] after the last change every address that a live node may hold has exactly one holder in each part of the LAN;
//     in a part with no more than half of the nodes after [settleMinor].
//  2. Two nodes that reach each other answer for the same address no longer than [overlap], after a partition than
//     [overlapHealed], and where frames get lost than [overlapLossy].
//  3. A node takes an address from another one only for a cause that lies with the holder or the address: it, or what is known
//     of it, was disturbed in the last seconds; it may not hold the address any more, or is about to leave; the user prefers
//     another.
//  4. So a node that returns takes nothing back: that it was away is no cause.
//  5. Where all nodes may hold all addresses, and nothing has gone wrong yet, none holds more than one more than another.
//
// A speaker that is left alone with others whose processes are paused is no part of 1: it hears their kernels, can't tell them from
// speakers that can't be talked to, and leaves to them what they hold.
//
// As long as frames reach a part of the LAN from another one, but not the other way round, nodes can't know better, and only 5 is
// checked of what is answered. While frames get lost, 1 is not: a false suspicion may be under way at any moment.
//
// # Limits
//
// The model of pkg/speaker, pkg/membership and memberlist is written by hand after them; what changes there has to change here.
// A machine that freezes sees its clock jump when it goes on, as most virtual machines do. Frames don't queue: a LAN that is
// overloaded is not modelled but as loss and delay. The LAN falls apart into parts within which all reach each other. Hosts don't
// have caches: that a host asks the former holder until it hears the new one's announcement is for the tests on real links. A node
// has one interface, and always hears hosts that are no speakers. Speakers that can't talk to each other though the LAN carries ARP
// are left to the tests on a real cluster.
package main
