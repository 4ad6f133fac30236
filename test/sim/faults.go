package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// faultKind is a way in which things change or go wrong.
type faultKind int

const (
	crashFault     faultKind = iota // the process is killed, and started anew when the fault ends
	stopFault                       // the process is told to stop, and started anew
	powerFault                      // the machine loses power
	pauseFault                      // the process stands still
	freezeFault                     // the machine stands still
	cutFault                        // the cable is unplugged
	partitionFault                  // the LAN falls apart
	oneWayFault                     // frames from one part don't reach the other
	lossFault                       // frames get lost
	dupFault                        // datagrams come twice
	slowFault                       // frames take longer
	excludeFault                    // a node gets the label that excludes it
	allowFault                      // other nodes may hold an address: endpoints have moved, say
	preferFault                     // the user prefers a node for an address
	createFault                     // an address is wanted
	deleteFault                     // an address is not wanted any more
	faultKinds
)

var kindNames = [...]string{
	"crash", "stop", "power", "pause", "freeze", "cut", "partition", "one-way", "loss", "duplicates", "delay", "exclude",
	"allow", "prefer", "create", "delete",
}

func (k faultKind) String() string { return kindNames[k] }

// ofMachine reports whether a fault befalls one machine. Such faults don't overlap on the same machine.
func (k faultKind) ofMachine() bool { return k <= cutFault }

// fault is one of them.
type fault struct {
	kind    faultKind
	node    int
	side    nodeSet // one part of the LAN, or the nodes that may hold addr
	addr    int
	degree  float64       // of loss, duplicates, delay
	begin   time.Duration // when
	length  time.Duration // 0: for ever, or for a moment only
	end     time.Duration
	started bool
	over    bool
}

func (f *fault) String() string {
	switch {
	case f.kind.ofMachine() || f.kind == excludeFault:
		return fmt.Sprintf("%v of %s", f.kind, nodeName(f.node))
	case f.kind == partitionFault || f.kind == oneWayFault:
		return fmt.Sprintf("%v from %v", f.kind, f.side.names())
	case f.kind == preferFault:
		return fmt.Sprintf("%v %s for address %d", f.kind, nodeName(f.node), f.addr)
	case f.kind == allowFault:
		return fmt.Sprintf("%v %v to hold address %d", f.kind, f.side.names(), f.addr)
	case f.kind == createFault || f.kind == deleteFault:
		return fmt.Sprintf("%v address %d", f.kind, f.addr)
	}
	return fmt.Sprintf("%v of %.2f", f.kind, f.degree)
}

// excuses reports whether the fault is a cause for claimant to take an address from holder.
func (f *fault) excuses(claimant, holder, addr int) bool {
	switch f.kind {
	case oneWayFault: // who hears and who is heard differ
		return true
	case partitionFault: // at its end either side hears what the other one has claimed and found out
		return f.over || f.side.has(claimant) != f.side.has(holder)
	case lossFault:
		return true
	case slowFault:
		return f.degree > 3
	case dupFault:
		return false
	case allowFault, preferFault, createFault, deleteFault:
		return f.addr == addr
	}
	return f.node == holder
}

// plan makes a fault happen, and end.
func (s *simulation) plan(f *fault) {
	s.checker.faults = append(s.checker.faults, f)
	s.after(f.begin-s.now, func() {
		f.started = true
		s.trace("FAULT", "begins:", f)
		s.apply(f, true)
		s.checker.changed()
		if f.length > 0 {
			s.after(f.length, func() { s.finish(f) })
		}
	})
}

func (s *simulation) finish(f *fault) {
	m := s.machines[f.node]
	if f.kind == stopFault && m.process != nil { // it has not left yet
		s.after(200*time.Millisecond, func() { s.finish(f) })
		return
	}
	s.trace("FAULT", "ends:", f)
	s.apply(f, false)
	f.over, f.end = true, s.now
	s.checker.changed()
}

func (s *simulation) apply(f *fault, on bool) {
	switch f.kind {
	case crashFault, stopFault, powerFault:
		s.takeAway(f, on)
	case pauseFault:
		s.machines[f.node].pause(on)
	case freezeFault:
		s.machines[f.node].freeze(on)
	case cutFault:
		s.machines[f.node].plug(!on)
		s.reunite(on)
	case partitionFault, oneWayFault:
		s.divide(f, on)
	case lossFault:
		s.loss = amount(on, f.degree, 0)
	case dupFault:
		s.dup = amount(on, f.degree, 0)
	case slowFault:
		s.slow = amount(on, f.degree, 1)
	default:
		s.change(func(c *cluster) { f.edit(c, on) })
	}
}

func amount(on bool, degree, otherwise float64) float64 {
	if on {
		return degree
	}
	return otherwise
}

func (s *simulation) takeAway(f *fault, on bool) {
	m := s.machines[f.node]
	switch {
	case !on:
		m.off = false
		m.start(s)
	case f.kind == crashFault:
		m.kill()
	case f.kind == powerFault:
		m.powerOff()
	case m.process != nil:
		m.process.stop()
	}
}

func (s *simulation) divide(f *fault, on bool) {
	delta := 1
	if !on {
		delta = -1
	}
	for from := range s.machines {
		for to := range s.machines {
			if f.side.has(from) && !f.side.has(to) || f.kind == partitionFault && !f.side.has(from) && f.side.has(to) {
				s.blocked[from][to] += delta
			}
		}
	}
	if f.kind == oneWayFault {
		s.checker.oneWay += delta
	}
	s.reunite(on)
}

func (s *simulation) reunite(on bool) {
	if !on {
		s.checker.reunited = s.now
	}
}

func (f *fault) edit(c *cluster, on bool) {
	switch {
	case f.kind == excludeFault && on:
		c.excluded = c.excluded.with(f.node)
	case f.kind == excludeFault:
		c.excluded = c.excluded.without(f.node)
	case f.kind == allowFault:
		c.allowed[f.addr] = f.side
	case f.kind == preferFault:
		c.prefer[f.addr] = f.node
	case f.kind == createFault:
		c.wanted |= 1 << f.addr
	case f.kind == deleteFault:
		c.wanted &^= 1 << f.addr
	}
}

// Course of a schedule.
const (
	calmUntil   = 7 * time.Second  // nothing goes wrong before
	faultsWhile = 12 * time.Second // then faults begin in this time
	longest     = 6 * time.Second  // what a fault lasts at most that does not last for ever
)

// schedule is what is to happen, drawn from a seed.
type schedule struct {
	nodes, addrs int
	boots        []time.Duration // by node
	faults       []*fault
	uniform      bool // every node may hold every address, and nothing goes wrong
}

// draw draws a schedule. It has a source of its own, so that what the simulation draws has no influence.
func draw(seed uint64) schedule {
	r := rand.New(rand.NewPCG(seed, 1))
	sch := schedule{nodes: 3 + r.IntN(8), addrs: 1 + r.IntN(maxAddrs)}
	if r.IntN(3) == 0 {
		sch.nodes = 3
	}
	spread := []time.Duration{10 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second}[r.IntN(3)]
	for range sch.nodes {
		sch.boots = append(sch.boots, time.Duration(r.Int64N(int64(spread))))
	}
	number := []int{0, 1, 1, 1, 2, 3, 4, 6, 10}[r.IntN(9)]
	sch.uniform = number == 0
	at, busy := calmUntil, make([]time.Duration, sch.nodes)
	for range number {
		at += time.Duration(r.ExpFloat64() * float64(faultsWhile) / float64(number+1) / 1.5)
		if f := drawFault(r, sch.nodes, min(at, calmUntil+faultsWhile)); f.befalls(busy) {
			sch.faults = append(sch.faults, f)
		}
	}
	return sch
}

// befalls reports whether a fault can happen, busy being until when something else is wrong with each machine.
func (f *fault) befalls(busy []time.Duration) bool {
	if !f.kind.ofMachine() {
		return true
	}
	if f.begin < busy[f.node] {
		return false
	}
	busy[f.node] = f.begin + f.length + time.Second
	switch {
	case f.length == 0:
		busy[f.node] = time.Hour
	case f.kind == stopFault:
		busy[f.node] += handOverWait + leaveWait
	}
	return true
}

// drawFault draws a fault that begins at a moment.
func drawFault(r *rand.Rand, nodes int, at time.Duration) *fault {
	f := &fault{
		kind: faultKind(r.IntN(int(faultKinds))), node: r.IntN(nodes), addr: r.IntN(maxAddrs), begin: at,
		length: 100*time.Millisecond + min(time.Duration(r.ExpFloat64()*float64(1500*time.Millisecond)), longest),
	}
	for f.side.empty() || f.kind != allowFault && f.side == all(nodes) {
		f.side = nodeSet{r.Uint64()}.and(all(nodes))
	}
	switch f.kind {
	case crashFault, stopFault, powerFault, cutFault, partitionFault, excludeFault:
		if r.IntN(4) == 0 {
			f.length = 0
		}
	case lossFault:
		f.degree = 0.3 * r.Float64()
	case dupFault:
		f.degree = r.Float64()
	case slowFault:
		f.degree = 1 + 4*r.Float64()
	case allowFault, preferFault, createFault, deleteFault:
		f.length = 0
	}
	if f.kind == allowFault && r.IntN(8) == 0 {
		f.side = nodeSet{} // no endpoint anywhere
	}
	return f
}
