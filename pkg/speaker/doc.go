// Package speaker makes its node announce the addresses that it should.
//
// One goroutine does it all, in one straight line, whenever anything has changed:
//
//	Services, EndpointSlices, Nodes, configuration, members -> facts: who may hold each address     (facts.go)
//	facts and claims                                        -> election.Plan: who should            (sync.go)
//	what the plan gives to this node and another holds      -> claims of this node
//	what this node's claims hold                            -> layer2.Announcer.Set, then the claims go out
//
// A new claim is announced on the wire before the peers hear of it, and its former holder answers until it does: a
// planned move has no gap.
//
// What this node knows may be from the past: it was paused, its link was down, it lost sight of its peers. Then it
// answers for nothing until it has exchanged claims with a peer, or, with none in reach, until a short fence is over
// (rejoin.go).
package speaker
