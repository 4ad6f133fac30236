package main

import (
	"fmt"
	"slices"
	"time"
)

// What is promised.
const (
	// settle (D) is how long after the last change every address has exactly one holder. It has to cover a process that is
	// paused, which only the heartbeats notice, by members that are cautious after what has just happened.
	settle = 5 * time.Second
	// settleMinor is the same for a part of the LAN that has no more than half of the nodes. Each of them has to find out that
	// most of the others are gone, and Lifeguard makes it ever more patient meanwhile.
	settleMinor = 20 * time.Second
	// overlap (W) is the longest time that two nodes may answer for one address where they reach each other.
	overlap = 500 * time.Millisecond
	// overlapHealed is the same after a partition, counted from its end: the nodes have to find out that it has ended.
	overlapHealed = time.Second
	// overlapLossy is the same while frames get lost, and for a while after that.
	overlapLossy = 2 * time.Second
)

// violation is a broken promise.
type violation struct {
	at   time.Duration
	what string
}

// figures are the longest times that were seen in which an address had no holder that could have had one, and in which it
// had two.
type figures struct {
	gap, gapMinor, gapLossy              time.Duration // Minor: in a part of the LAN that has no more than half of the nodes
	overlap, overlapHealed, overlapLossy time.Duration
}

// add takes in the figures of another schedule.
func (f *figures) add(o figures) {
	f.gap, f.overlap = max(f.gap, o.gap), max(f.overlap, o.overlap)
	f.gapMinor, f.overlapHealed = max(f.gapMinor, o.gapMinor), max(f.overlapHealed, o.overlapHealed)
	f.gapLossy, f.overlapLossy = max(f.gapLossy, o.gapLossy), max(f.overlapLossy, o.overlapLossy)
}

// checker watches who answers, and holds it against the promises.
type checker struct {
	*simulation
	faults     []*fault
	lastChange time.Duration
	oneWay     int           // one-way partitions that go on
	reunited   time.Duration // when a partition has last ended
	components []nodeSet     // the parts into which the LAN has fallen
	eligible   []addrSet     // by node: what it may hold, if it is live
	held       addrSet       // addresses that somebody has answered for since they were wanted

	dup   stopwatch
	gaps  []stopwatch // by node: as seen from there
	minor []addrSet   // by node: what has been missing there while it was in a small part of the LAN
	figures
	broken *violation
}

func newChecker(s *simulation) *checker {
	n := len(s.machines)
	return &checker{simulation: s, eligible: make([]addrSet, n), gaps: make([]stopwatch, n), minor: make([]addrSet, n)}
}

// fail notes the first broken promise.
func (c *checker) fail(what string, args ...any) {
	if c.broken == nil {
		c.broken = &violation{c.now, fmt.Sprintf(what, args...)}
		c.trace("CHECK", "VIOLATION:", c.broken.what)
	}
}

// changed notes that something has changed, so that things may be in motion for a while, and works out anew what depends on
// the machines, the network and the cluster.
func (c *checker) changed() {
	c.lastChange, c.dirty = c.now, true
	c.components = c.components[:0]
	var seen nodeSet
	for i := range c.machines {
		if !seen.has(i) {
			part := c.component(i)
			c.components = append(c.components, part)
			for _, node := range part.list() {
				seen = seen.with(node)
			}
		}
		c.eligible[i] = 0
		for _, a := range c.cluster.wanted.list() {
			if c.cluster.allowed[a].has(i) && !c.cluster.excluded.has(i) {
				c.eligible[i] |= 1 << a
			}
		}
	}
	c.held &= c.cluster.wanted
}

// component returns the nodes that are connected with a node, over others if need be.
func (c *checker) component(node int) nodeSet {
	part, todo := bit(node), []int{node}
	for len(todo) > 0 {
		for i := range c.machines {
			if !part.has(i) && c.connected(todo[0], i) {
				part = part.with(i)
				todo = append(todo, i)
			}
		}
		todo = todo[1:]
	}
	return part
}

// live reports whether a speaker is there to hold addresses.
func (m *machine) live() bool {
	p := m.process
	return m.running() && m.carrier && p != nil && p.started && !p.paused && !p.leaving && p.able
}

// observe is called when something may have changed, and now and then.
func (c *checker) observe() {
	var dup addrSet
	for _, part := range c.components {
		answered, twice, able := c.survey(part)
		dup |= twice
		c.held |= answered
		gap := able &^ answered
		for _, node := range part.list() {
			c.watchGap(node, gap&c.held, c.major(part))
		}
		bad, quiet := twice|gap, c.now-c.lastChange
		if c.baffled(part) {
			bad = twice
		}
		if bad != 0 && c.oneWay == 0 && c.loss == 0 && quiet >= c.settling(part) {
			c.fail("%v after the last change %v of %v have no holder, or more than one", quiet, bad, part)
		}
	}
	c.watchOverlap(dup)
}

// survey returns what is answered for in a part of the LAN, what by more than one, and what could be.
func (c *checker) survey(part nodeSet) (answered, twice, able addrSet) {
	for _, node := range part.list() {
		m := c.machines[node]
		answers := m.answers() & c.cluster.wanted
		twice |= answered & answers
		answered |= answers
		if m.live() {
			able |= c.eligible[node]
		}
	}
	return answered, twice, able
}

// baffled reports whether a part of the LAN has one live speaker, and others that are paused. Their kernels answer on the wire, so
// it can't know whether they are gone or only can't be talked to, and leaves to them what they hold.
func (c *checker) baffled(part nodeSet) bool {
	live, paused := 0, 0
	for _, node := range part.list() {
		switch m := c.machines[node]; {
		case m.live():
			live++
		case m.process != nil && m.process.paused:
			paused++
		}
	}
	return live == 1 && paused > 0
}

// major reports whether a part of the LAN has most of the nodes.
func (c *checker) major(part nodeSet) bool { return 2*len(part.list()) > len(c.machines) }

// settling returns how long it takes for a part of the LAN to settle.
func (c *checker) settling(part nodeSet) time.Duration {
	if c.major(part) {
		return settle
	}
	return settleMinor
}

// settled returns how long it takes for all parts to settle that have live nodes.
func (c *checker) settled() time.Duration {
	d := settle
	for _, part := range c.components {
		if slices.ContainsFunc(part.list(), func(node int) bool { return c.machines[node].live() }) {
			d = max(d, c.settling(part))
		}
	}
	return d
}

// watchGap times how long addresses have no holder as seen from a node.
func (c *checker) watchGap(node int, gap addrSet, major bool) {
	if c.oneWay > 0 || !c.machines[node].running() {
		c.gaps[node].on = 0
		return
	}
	c.minor[node] &= gap | c.gaps[node].on
	if !major {
		c.minor[node] |= gap
	}
	c.gaps[node].set(c.now, gap, func(a int, since time.Duration) {
		c.trace(nodeName(node), fmt.Sprintf("CHECK: address %d had no holder here for", a), c.now-since)
		f := &c.figures.gap
		switch {
		case c.minor[node].has(a):
			f = &c.figures.gapMinor
		case c.lossy(since):
			f = &c.figures.gapLossy
		}
		*f = max(*f, c.now-since)
	})
}

// watchOverlap times how long two nodes answer for an address. In a partition in one direction nobody can help it.
func (c *checker) watchOverlap(dup addrSet) {
	if c.oneWay > 0 {
		c.dup.on = 0
		return
	}
	for _, a := range c.dup.on.list() {
		longest, limit := c.overlapping(c.dup.since[a])
		d := c.now - c.dup.since[a]
		*longest = max(*longest, d)
		if d > limit {
			c.fail("two nodes have answered for address %d for %v", a, d)
		}
	}
	c.dup.set(c.now, dup, func(a int, since time.Duration) {
		c.trace("CHECK", fmt.Sprintf("two nodes have answered for address %d for", a), c.now-since)
	})
}

// overlapping returns the figure that an overlap since a moment counts for, and how long it may last.
func (c *checker) overlapping(since time.Duration) (*time.Duration, time.Duration) {
	switch {
	case c.lossy(since):
		return &c.figures.overlapLossy, overlapLossy
	case c.reunited > 0 && since-c.reunited < settle:
		return &c.figures.overlapHealed, overlapHealed
	}
	return &c.figures.overlap, overlap
}

// lossy reports whether frames were lost not long before a moment, or since.
func (c *checker) lossy(since time.Duration) bool {
	for _, f := range c.faults {
		if f.kind == lossFault && f.started && (!f.over || f.end+settle > since) {
			return true
		}
	}
	return false
}

// stopwatch times each address.
type stopwatch struct {
	on    addrSet
	since [maxAddrs]time.Duration
}

// set starts and stops the time of addresses, and calls ended for those that are stopped.
func (w *stopwatch) set(now time.Duration, on addrSet, ended func(a int, since time.Duration)) {
	for _, a := range (w.on &^ on).list() {
		ended(a, w.since[a])
	}
	for _, a := range (on &^ w.on).list() {
		w.since[a] = now
	}
	w.on = on
}
