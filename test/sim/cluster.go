package main

import (
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

// cluster is what the API server says: which addresses are wanted and who may hold them. A value is never changed; each
// change makes another one.
type cluster struct {
	version  int
	wanted   addrSet
	allowed  [maxAddrs]nodeSet // by selectors of the pool and endpoints of the Service
	prefer   [maxAddrs]int     // node, or -1
	excluded nodeSet
	planned  map[nodeSet][]election.Address // what addresses has worked out
}

// addresses returns what the plan is made from, if candidates are the nodes that may announce anything.
func (c *cluster) addresses(candidates nodeSet) []election.Address {
	if out, ok := c.planned[candidates]; ok {
		return out
	}
	names := map[nodeSet][]string{}
	var out []election.Address
	for _, a := range c.wanted.list() {
		eligible := candidates.and(c.allowed[a])
		if names[eligible] == nil {
			names[eligible] = eligible.names()
		}
		address := election.Address{Addr: addrOf(a), Eligible: names[eligible]}
		if c.prefer[a] >= 0 {
			address.Prefer = nodeName(c.prefer[a])
		}
		out = append(out, address)
	}
	c.planned[candidates] = out
	return out
}

// How long a change takes to reach a speaker's cache.
const (
	minWatchDelay = time.Millisecond
	maxWatchDelay = 300 * time.Millisecond
)

// change changes the cluster. Each speaker hears of it after a delay of its own, and of one change after the other.
func (s *simulation) change(edit func(*cluster)) {
	next := *s.cluster
	next.version++
	next.planned = map[nodeSet][]election.Address{}
	edit(&next)
	s.cluster = &next
	for i, m := range s.machines {
		s.heard[i] = max(s.heard[i], s.now+s.between(minWatchDelay, maxWatchDelay))
		s.after(s.heard[i]-s.now, func() {
			if p := m.process; p != nil {
				p.run(func() {
					if p.cache.version < next.version {
						p.cache = &next
						p.kick()
					}
				})
			}
		})
	}
}

// targets returns whom a node watches among members. All nodes together are worked out once for each set of members.
func (s *simulation) targets(members nodeSet) []nodeSet {
	if out, ok := s.watching[members]; ok {
		return out
	}
	out := make([]nodeSet, len(s.machines))
	names := members.names()
	for _, target := range members.list() {
		for _, watcher := range election.Watchers(nodeName(target), names) {
			out[s.id(watcher)] = out[s.id(watcher)].with(target)
		}
	}
	s.watching[members] = out
	return out
}

func (s *simulation) id(name string) int {
	i, ok := s.ids[name]
	if !ok {
		panic("sim: no node " + name)
	}
	return i
}

// readyDelay is how long Kubernetes takes to call a speaker ready, or not ready any more. Of one whose machine is gone it
// goes on saying so for longer than any schedule lasts.
const readyDelay = time.Second

// noteReady lets Kubernetes look at the speaker of a machine.
func (s *simulation) noteReady(m *machine) {
	s.after(readyDelay, func() {
		if up := m.process != nil && m.process.started; m.running() && up != s.ready.has(m.id) {
			s.ready = s.ready.without(m.id)
			if up {
				s.ready = s.ready.with(m.id)
			}
			s.change(func(*cluster) {}) // it kicks all
		}
	})
}

func newCluster(nodes int) *cluster {
	c := &cluster{planned: map[nodeSet][]election.Address{}}
	for a := range c.allowed {
		c.allowed[a], c.prefer[a] = all(nodes), -1
	}
	return c
}
