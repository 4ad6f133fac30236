package main

import (
	"math"
	"slices"
	"time"
)

// The profile of pkg/membership, and memberlist's own figures where that leaves them alone.
const (
	swimProbeInterval  = time.Second
	swimProbeTimeout   = 100 * time.Millisecond
	swimSuspicionMult  = 1
	swimSuspicionMax   = 2 // times the least suspicion
	swimIndirectChecks = 3
	swimMaxAwareness   = 1 // one less than membership's awarenessMax
	swimPushPull       = 10 * time.Second
)

// meta is what a speaker tells about itself: membership.Meta.
type meta struct{ announcing, draining bool }

// status is what memberlist thinks of a member. The zero value is a member that was never heard of.
type status int

const (
	unknown status = iota
	alive
	suspect
	dead
	left
)

// member is what a process knows of another one, or of itself.
type member struct {
	status
	meta
	incarnation uint32
	since       time.Duration // when the status changed
	suspicion   *suspicion
}

// suspicion runs from the moment a member is suspected until it is taken for dead, the sooner the more others confirm it.
type suspicion struct {
	want      int   // confirmations
	confirmed []int // who has, the first accuser included
	start     time.Duration
	least     time.Duration
}

// swim is memberlist in one process.
type swim struct {
	p       *process
	members []member // by node
	// incarnation is the process's own, which only it raises.
	incarnation uint32
	awareness   int // Lifeguard: how unwell the process itself is, 0 to swimMaxAwareness
	probing     bool
	round       []int // whom to probe next
	gossip      gossip
	left        bool
}

func newSwim(p *process) *swim {
	s := &swim{p: p, members: make([]member, len(p.machines))}
	s.gossip.swim = s
	s.incarnation = 1
	s.members[p.id] = member{status: alive, incarnation: 1}
	s.p.joined(p.id)
	p.after(p.between(0, swimProbeInterval), s.tick)
	p.after(p.between(0, swimPushPull), s.pushPull)
	return s
}

// statement is what gossip says of a member.
type statement struct {
	node, from  int // from: who accuses it
	status      status
	incarnation uint32
	meta        meta
}

// hear takes in a statement.
func (s *swim) hear(m statement) {
	switch m.status {
	case alive:
		s.hearAlive(m, false)
	case suspect:
		s.hearSuspect(m)
	case dead, left:
		s.hearDead(m)
	}
}

// hearAlive is memberlist's aliveNode. own says that the process itself speaks.
func (s *swim) hearAlive(m statement, own bool) {
	me, state := m.node == s.p.id, &s.members[m.node]
	switch {
	case me && s.left:
		return
	case !me && state.status != unknown && m.incarnation <= state.incarnation:
		return
	case me && m.incarnation < state.incarnation:
		return
	case me && !own:
		if m.incarnation != state.incarnation || m.meta != state.meta {
			s.refute(m.incarnation)
		}
		return
	}
	old := *state
	*state = member{status: alive, meta: m.meta, incarnation: m.incarnation, since: s.p.now}
	s.gossip.state(m)
	switch {
	case old.status == unknown || old.status == dead || old.status == left:
		s.p.joined(m.node)
	case old.meta != m.meta:
		s.p.kick()
	}
}

// hearSuspect is memberlist's suspectNode.
func (s *swim) hearSuspect(m statement) {
	state := &s.members[m.node]
	if state.status == unknown || m.incarnation < state.incarnation {
		return
	}
	if sus := state.suspicion; sus != nil {
		if len(sus.confirmed)-1 < sus.want && !slices.Contains(sus.confirmed, m.from) {
			sus.confirmed = append(sus.confirmed, m.from)
			s.gossip.state(m)
			s.await(m.node, sus)
		}
		return
	}
	if state.status != alive {
		return
	}
	if m.node == s.p.id {
		s.refute(m.incarnation)
		return
	}
	s.gossip.state(m)
	sus := &suspicion{confirmed: []int{m.from}, start: s.p.now, want: swimSuspicionMult - 2}
	known := s.known()
	if known-2 < sus.want {
		sus.want = 0
	}
	scale := math.Max(1, math.Log10(float64(known)))
	sus.least = time.Duration(float64(swimSuspicionMult*swimProbeInterval) * scale)
	state.status, state.incarnation, state.since, state.suspicion = suspect, m.incarnation, s.p.now, sus
	s.await(m.node, sus)
}

// await plans the end of a suspicion, of which more confirmations may bring a new one forward.
func (s *swim) await(node int, sus *suspicion) {
	timeout := sus.least
	if sus.want > 0 {
		longest := swimSuspicionMax * sus.least
		got := len(sus.confirmed) - 1
		share := math.Log(float64(got)+1) / math.Log(float64(sus.want)+1)
		timeout = max(sus.least, longest-time.Duration(share*float64(longest-sus.least)))
	}
	s.p.after(sus.start+timeout-s.p.now, func() {
		if state := &s.members[node]; state.suspicion == sus {
			s.hearDead(statement{node: node, from: s.p.id, status: dead, incarnation: state.incarnation})
		}
	})
}

// hearDead is memberlist's deadNode.
func (s *swim) hearDead(m statement) {
	state := &s.members[m.node]
	if state.status == unknown || m.incarnation < state.incarnation {
		return
	}
	state.suspicion = nil
	if state.status == dead || state.status == left {
		return
	}
	if m.node == s.p.id && !s.left {
		s.refute(m.incarnation)
		return
	}
	s.gossip.state(m)
	state.status, state.incarnation, state.since = dead, m.incarnation, s.p.now
	if m.from == m.node {
		state.status = left
	}
	s.p.gone(m.node, state.meta)
}

// refute denies what was said of this process.
func (s *swim) refute(accused uint32) {
	s.incarnation = max(s.incarnation, accused) + 1
	state := &s.members[s.p.id]
	state.incarnation = s.incarnation
	s.feel(1)
	s.gossip.state(s.own())
}

// own returns what the process says of itself.
func (s *swim) own() statement {
	return statement{node: s.p.id, status: alive, incarnation: s.incarnation, meta: s.members[s.p.id].meta}
}

func (s *swim) feel(delta int) {
	s.awareness = min(max(s.awareness+delta, 0), swimMaxAwareness)
}

// alive counts the members that are not said to be dead, this one included.
func (s *swim) alive() (n int) {
	for i := range s.members {
		if st := s.members[i].status; st == alive || st == suspect {
			n++
		}
	}
	return n
}

// known counts the members that were ever heard of. Those that are dead for 30 s memberlist forgets; no schedule is so long.
func (s *swim) known() int {
	n := 0
	for i := range s.members {
		if s.members[i].status != unknown {
			n++
		}
	}
	return n
}

// choose returns up to n random other members that match.
func (s *swim) choose(n int, match func(*member) bool) []int {
	var nodes []int
	for i := range s.members {
		if i != s.p.id && s.members[i].status != unknown && match(&s.members[i]) {
			nodes = append(nodes, i)
		}
	}
	for i := 0; i < len(nodes) && i < n; i++ {
		j := i + s.p.rand.IntN(len(nodes)-i)
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	return nodes[:min(n, len(nodes))]
}

func isAlive(m *member) bool { return m.status == alive }

// tick probes the next member, unless the last probe is not over.
func (s *swim) tick() {
	s.p.after(swimProbeInterval, s.tick)
	if s.probing {
		return
	}
	for range 2 {
		for len(s.round) > 0 {
			node := s.round[0]
			s.round = s.round[1:]
			if st := s.members[node].status; st == alive || st == suspect {
				s.probe(node)
				return
			}
		}
		s.round = s.choose(len(s.members), func(*member) bool { return true })
	}
}

// probe is memberlist's probeNode: a ping, then pings by way of others and one over TCP, then suspicion.
func (s *swim) probe(node int) {
	s.probing = true
	acked, nacks, asked := false, 0, 0
	deadline := s.p.now + swimProbeInterval*time.Duration(1+s.awareness)
	s.ping(node, func() { acked = true })
	s.p.after(swimProbeTimeout, func() {
		if acked {
			s.feel(-1)
			s.probing = false
			return
		}
		asked = s.probeByOthers(node, func() { acked = true }, func() { nacks++ })
		s.p.after(deadline-s.p.now, func() {
			s.probing = false
			switch {
			case acked:
				s.feel(-1)
				return
			case asked > 0:
				s.feel(asked - nacks)
			default:
				s.feel(1)
			}
			s.hearSuspect(statement{node: node, from: s.p.id, status: suspect, incarnation: s.members[node].incarnation})
		})
	})
}

// probeByOthers returns how many others it has asked to ping node.
func (s *swim) probeByOthers(node int, ack, nack func()) int {
	s.p.dial(s.p.id, node, s.p.now+swimProbeTimeout, func() {
		s.p.segment(s.p.id, node, s.p.now+swimProbeTimeout, func(peer *process) {
			peer.segment(node, s.p.id, peer.now+swimProbeTimeout, s.only(ack))
		})
	}, func() {})
	others := s.choose(swimIndirectChecks, func(m *member) bool { return m.status == alive && m != &s.members[node] })
	for _, via := range others {
		s.p.datagram(s.p.id, via, func(peer *process) {
			done := false
			peer.swim.ping(node, func() { done = true; peer.datagram(via, s.p.id, s.only(ack)) })
			peer.after(swimProbeTimeout, func() {
				if !done {
					peer.datagram(via, s.p.id, s.only(nack))
				}
			})
		})
	}
	return len(others)
}

// ping asks for a sign of life. A member that is suspected is told so, that it may deny it.
func (s *swim) ping(node int, ack func()) {
	from, state := s.p.id, s.members[node]
	s.p.datagram(from, node, func(peer *process) {
		if state.status == suspect {
			peer.swim.hear(statement{node: node, from: from, status: suspect, incarnation: state.incarnation})
		}
		peer.datagram(node, from, s.only(ack))
	})
}

// only returns do for a message that is meant for this process, not for its successor.
func (s *swim) only(do func()) func(*process) {
	return func(p *process) {
		if p == s.p {
			do()
		}
	}
}

// pushPull exchanges everything with a random member, now and then.
func (s *swim) pushPull() {
	s.p.after(swimPushPull, s.pushPull)
	for _, node := range s.choose(1, isAlive) {
		s.p.exchange(node, func(bool) {})
	}
}

// state returns what this process thinks of all members, to be told to another.
func (s *swim) state() []statement {
	var out []statement
	for node := range s.members {
		m := &s.members[node]
		if m.status != unknown {
			out = append(out, statement{node: node, from: node, status: m.status, incarnation: m.incarnation, meta: m.meta})
		}
	}
	return out
}

// merge takes in what another process thinks. A member that is dead there is only suspected here.
func (s *swim) merge(state []statement) {
	for _, m := range state {
		if m.status == dead || m.status == suspect {
			m.status, m.from = suspect, s.p.id
		}
		s.hear(m)
	}
}

// update tells the others what has changed about this process, and calls then when they have been told, or after timeout.
func (s *swim) update(m meta, timeout time.Duration, then func()) {
	s.incarnation++
	told := s.tell(statement{node: s.p.id, status: alive, incarnation: s.incarnation, meta: m}, timeout, then)
	s.hearAlive(told, true)
}

// leave tells the others that this process goes.
func (s *swim) leave(timeout time.Duration, then func()) {
	s.left = true
	s.hearDead(s.tell(statement{node: s.p.id, from: s.p.id, status: left, incarnation: s.incarnation}, timeout, then))
}

// tell calls then when m has been told, or after timeout, or at once if there is nobody to tell. It returns m.
func (s *swim) tell(m statement, timeout time.Duration, then func()) statement {
	done := false
	once := func() {
		if !done {
			done = true
			then()
		}
	}
	if len(s.choose(1, isAlive)) == 0 {
		timeout = 0
	}
	s.gossip.finished = func(said statement) {
		if said == m {
			s.p.after(0, once)
		}
	}
	s.p.after(timeout, once)
	return m
}
