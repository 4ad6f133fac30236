// Package controller gives addresses to Services of type LoadBalancer and tells their users about it.
//
// The straight line: an event puts a key into the queue; one worker takes it, asks the Allocator (which it alone owns,
// so there is no lock) and decides what the Service's status must show; if that differs from what it shows, a status
// write goes on its way while the worker takes the next key. The queue never hands out a key whose write is under way.
//
// Who came first is served first: when the configuration changes or something comes free, all Services that this concerns are
// decided on at once, the oldest first, and only what they must show goes through the queue.
//
// What a Service shows is adopted first: a new term begins with a full list of the Services, and nothing is handed out
// before every address in their status is known. An address that is given up stays reserved until the API server has
// confirmed that the Service does not show it any more.
//
// Which node announces an address, and which one a foreign host uses, it hears as a silent member of the speakers' gossip
// (gossip.go), and writes into conditions of the Service; the former at a slow pace (announced.go). What it knows can be asked for
// by [Controller.State].
//
// Only the holder of Lease metallb-controller works; others stand by.
package controller
