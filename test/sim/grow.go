package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

// growth is how one kind of failure looks in a cluster of so many nodes. The victim holds ten addresses.
type growth struct {
	Kind   string `json:"kind"`
	Nodes  int    `json:"nodes"`
	Rounds int    `json:"rounds"`
	// From the fault until another node answers for the last of the addresses, in milliseconds.
	MedianClaim float64 `json:"median_claim_ms"`
	MaxClaim    float64 `json:"max_claim_ms"`
	// From the fault until the last live node knows of the last claim.
	MedianKnown float64 `json:"median_known_ms"`
	MaxKnown    float64 `json:"max_known_ms"`
	// Datagrams and exchanges between all nodes in the second after the fault, beyond what a quiet second takes.
	Messages int `json:"messages"`
	// Datagrams, and questions on the wire, that each node sends in a quiet second.
	QuietDatagrams float64 `json:"quiet_datagrams"`
	QuietQuestions float64 `json:"quiet_questions"`
}

const (
	growAddrs = 10
	growCalm  = 3 * time.Second // before the fault
	growWait  = 20 * time.Second
)

// growAll prints a line for each kind and size.
func growAll(w io.Writer, o options) {
	enc := json.NewEncoder(w)
	for _, kind := range []faultKind{powerFault, crashFault, pauseFault} {
		for _, size := range []struct{ nodes, rounds int }{{3, 300}, {10, 100}, {100, 20}, {1000, 3}} {
			if err := enc.Encode(grow(kind, size.nodes, size.rounds, o)); err != nil {
				fmt.Fprintln(w, err)
			}
		}
	}
}

// grow measures one kind of failure in clusters of one size.
func grow(kind faultKind, nodes, rounds int, o options) growth {
	g := growth{Kind: kind.String(), Nodes: nodes, Rounds: rounds}
	var claims, knowns []time.Duration
	for round := range rounds {
		s := newSettled(uint64(round+1), nodes, o)
		s.run(growCalm-time.Second, func() {})
		datagrams, questions, exchanges := s.datagrams, s.questions, s.exchanges
		s.run(growCalm, func() {})
		quiet := s.datagrams - datagrams + s.exchanges - exchanges
		g.QuietDatagrams += float64(s.datagrams-datagrams) / float64(nodes*rounds)
		g.QuietQuestions += float64(s.questions-questions) / float64(nodes*rounds)
		claim, known, messages := s.fail(kind)
		claims, knowns = append(claims, claim), append(knowns, known)
		g.Messages += (messages - quiet) / rounds
	}
	slices.Sort(claims)
	slices.Sort(knowns)
	g.MedianClaim, g.MaxClaim = milliseconds(claims[rounds/2]), milliseconds(claims[rounds-1])
	g.MedianKnown, g.MaxKnown = milliseconds(knowns[rounds/2]), milliseconds(knowns[rounds-1])
	return g
}

// newSettled returns a cluster that has been up for long. Its first node holds all addresses.
func newSettled(seed uint64, nodes int, o options) *simulation {
	s := newSimulation(seed, nodes, o)
	for a := range growAddrs {
		s.cluster.wanted |= 1 << a
	}
	for _, m := range s.machines {
		m.prepare(s)
	}
	for _, m := range s.machines {
		p := m.process
		for a := range growAddrs {
			p.ledger.Receive([]election.Claim{{Addr: addrOf(a), Node: nodeName(0), Seq: 1}})
		}
		p.meta = meta{announcing: true}
		for node := range s.machines {
			p.swim.members[node] = member{status: alive, meta: p.meta, incarnation: 1}
			p.reports[node] = s.machines[node].process.reports[node]
		}
		p.members, s.ready, p.started, p.changed = all(nodes), all(nodes), true, false
		p.kick()
	}
	return s
}

// fail lets the first node fail, and returns when the last address had another holder, when all knew that, and how many messages
// were sent in the first second.
func (s *simulation) fail(kind faultKind) (claimed, known time.Duration, messages int) {
	begin, sent := s.now, s.datagrams+s.exchanges
	s.apply(&fault{kind: kind}, true)
	for _, d := range []*time.Duration{&claimed, &known} {
		done := s.claimedByOthers
		if d == &known {
			done = s.knownByAll
		}
		for !done() {
			if s.now > begin+growWait {
				panic(fmt.Sprintf("sim: no failover among %d nodes, seed %d", len(s.machines), s.seed))
			}
			s.run(s.now+time.Millisecond, func() {})
		}
		*d = s.now - begin
	}
	s.run(max(s.now, begin+time.Second), func() {})
	return claimed, known, s.datagrams + s.exchanges - sent
}

// claimedByOthers reports whether other nodes than the first answer for all addresses.
func (s *simulation) claimedByOthers() bool {
	var answers addrSet
	for _, m := range s.machines[1:] {
		answers |= m.answers()
	}
	return answers == s.cluster.wanted
}

// knownByAll reports whether no other node takes the first one for the holder of any address.
func (s *simulation) knownByAll() bool {
	for _, m := range s.machines[1:] {
		for _, c := range m.process.ledger.Claims() {
			if c.Node == nodeName(0) {
				return false
			}
		}
	}
	return true
}
