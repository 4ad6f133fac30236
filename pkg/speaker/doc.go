// Package speaker makes its node announce the addresses that it should.
//
// One goroutine does it all, in one straight line, whenever anything has changed:
//
//	Services, EndpointSlices, Nodes, configuration, members -> facts: who may hold each address     (facts.go)
//	facts, claims, the wire watch                           -> election.Node.Decide: hold, probe, claim, or fall silent
//	what this node holds and probes for                     -> layer2.Announcer.Set, then the claims go out (sync.go)
//
// What can't have taken anything from this node waits a moment if looks take long (Speaker.hear): thousands of Services come in bursts.
//
// A new claim is announced on the wire before the peers hear of it, and its former holder answers until it does: a
// planned move has no gap.
//
// Beside it run the wire watch (watch.go), which asks other nodes each 100 ms and makes the worker look when one falls silent,
// and a writer that saves what is known for a restart while the API server is away (state.go).
//
// What it knows and does can be asked for ([Speaker.State], inspect.go): it is worked out when somebody asks. The controller hears
// what this node announces in the gossip (report.go).
//
// What this node knows may be from the past: it was paused, its link was down, it lost sight of its peers. Then it answers for
// nothing until it has exchanged claims with a peer, or, with none in reach, until a short fence is over (rejoin.go). Questions that were
// asked during a pause may be read before anything else runs: so not even a frame leaves it without a beat of the watch in good time
// (deadman.go). If the LAN may have fallen apart the roll of the peers is called (roll.go). A node that is left alone serves its side of
// the LAN without a claim, and announces if it hears other hosts there (bystanders.go). If the speakers can't talk to each other at all,
// though they live, it follows the list of the API server (blocked.go).
package speaker
