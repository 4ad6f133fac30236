package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

// simulation is one schedule: a LAN with speakers, what goes wrong on it, and who watches.
type simulation struct {
	*network
	profile
	seed     uint64
	cluster  *cluster
	ready    nodeSet         // whose speakers Kubernetes calls ready
	heard    []time.Duration // by node: when it hears of the last change of the cluster
	watching map[nodeSet][]nodeSet
	ids      map[string]int
	checker  *checker
	auditor  *auditor
	dirty    bool     // who answers, or who could, may have changed
	log      []string // what happened, if anybody wants to know
	tracing  bool
	newNode  func(name string) decider
}

// decider is what a speaker needs of election.Node.
type decider interface {
	Paused(time.Time, time.Duration) bool
	Decide(election.View) election.Decision
	Asked(time.Time, bool)
	Stalled() bool
	Relievable(election.View) bool
}

// newSimulation returns a LAN of so many nodes on which nothing runs.
func newSimulation(seed uint64, nodes int, o options) *simulation {
	s := &simulation{
		network: newNetwork(newClock(seed), nodes), profile: o.profile, seed: seed, cluster: newCluster(nodes),
		heard: make([]time.Duration, nodes), watching: map[nodeSet][]nodeSet{}, ids: map[string]int{},
		tracing: o.tracing, newNode: o.newNode,
	}
	if s.newNode == nil {
		s.newNode = func(name string) decider { return election.NewNode(name, pauseLimit) }
	}
	for i := range nodes {
		s.ids[nodeName(i)] = i
	}
	s.checker = newChecker(s)
	s.auditor = newAuditor(s.checker)
	return s
}

// trace notes what has happened on a node.
func (p *process) trace(what string, detail any) { p.sim.trace(p.name, what, detail) }

func (s *simulation) trace(where, what string, detail any) {
	if !s.tracing {
		return
	}
	if detail == nil {
		detail = ""
	}
	line := fmt.Sprintf("%8.1f ms  %-8s  %s %v", float64(s.now)/float64(time.Millisecond), where, what, detail)
	s.log = append(s.log, strings.TrimRight(line, " "))
}

// noteChange notes that something has changed, so that things may be in motion for a while.
func (s *simulation) noteChange(node int, what string) {
	where := "cluster"
	if node >= 0 {
		where = nodeName(node)
	}
	s.trace(where, what, nil)
	s.checker.changed()
}

// claimed notes the claims that a speaker makes.
func (s *simulation) claimed(p *process, claims []election.Claim) {
	if len(claims) > 0 {
		s.trace(p.name, "claims", addrsIn(claims))
	}
	s.auditor.claimed(p, claims)
}
