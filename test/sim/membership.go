package main

import (
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/membership"
)

// This file is what pkg/membership adds to memberlist: claims and reports on their way between the speakers.

// report is what a speaker observes, the newest of each node counting: membership's report.
type report struct {
	node   int
	seq    uint64
	silent []string
}

// joined is NotifyJoin.
func (p *process) joined(node int) {
	if node != p.id {
		p.trace("joined", nodeName(node))
		p.after(0, func() { p.greet(node) })
	}
	p.members = p.members.with(node)
	p.roll.absent = p.roll.absent.without(node)
	p.kick()
}

// gone is NotifyLeave.
func (p *process) gone(node int, m meta) {
	p.trace("left", nodeName(node))
	if m.draining || p.sim.denial == 0 {
		p.forget(node, m)
		return
	}
	dying := func() bool { s := p.swim.members[node].status; return s == dead || s == left }
	if p.rand.IntN(max(1, p.swim.alive())) < membership.Accusers {
		p.exchange(node, func(bool) {}) // it hears what is said of it
	}
	answered := false
	ask := func() {
		if !answered {
			p.swim.ping(node, func() { answered = true })
		}
	}
	ask()
	p.after(p.sim.denial/2, ask)
	p.after(p.sim.denial, func() {
		switch {
		case !dying():
		case !answered:
			p.forget(node, m)
		default:
			p.after(membership.DenyLater, func() { p.accuse(node, 2, dying, func() { p.forget(node, m) }) })
		}
	})
}

// accuse exchanges with a member that is said to be dead, a number of times as long as it does not deny that, and calls done if it
// never does: with the first exchange it hears of it.
func (p *process) accuse(node, times int, dying func() bool, done func()) {
	switch {
	case !dying():
	case times == 0:
		done()
	default:
		p.exchange(node, func(bool) { p.after(p.sim.denial/2, func() { p.accuse(node, times-1, dying, done) }) })
	}
}

func (p *process) forget(node int, m meta) {
	if !p.members.has(node) {
		return
	}
	p.trace("forgets", nodeName(node))
	p.lost = !m.draining
	p.members = p.members.without(node)
	p.roll.absent = p.roll.absent.without(node)
	if node != p.id {
		p.reports[node] = report{}
	}
	p.kick()
}

// alone is membership.Alone.
func (p *process) alone() bool {
	return p.peers().without(p.id).empty() && (p.lost || p.roll.gone && !p.roll.absent.empty())
}

// greet tells a member what this process holds and observes.
func (p *process) greet(node int) {
	var msgs []message
	for claims := range slices.Chunk(p.ledger.Own(), claimsInDatagram) {
		msgs = append(msgs, message{claims: claims})
	}
	own := p.reports[p.id]
	p.send(node, append(msgs, message{report: &own}))
}

func (p *process) send(node int, msgs []message) {
	for i := range msgs {
		p.datagram(p.id, node, func(peer *process) { peer.receive(&msgs[i]) })
	}
}

// spread tells every member at once, and the gossip as well.
func (p *process) spread(msgs []message) {
	for _, m := range msgs {
		p.swim.gossip.add(m)
	}
	p.sendAll(msgs)
	for _, d := range membership.Repeats() {
		p.after(d, func() { p.sendAll(msgs) })
	}
}

func (p *process) sendAll(msgs []message) {
	for _, node := range p.members.list() {
		if node != p.id {
			p.send(node, msgs)
		}
	}
}

// claim makes claims of this process known to all.
func (p *process) claim(claims []election.Claim) {
	p.ledger.Receive(claims)
	var msgs []message
	for part := range slices.Chunk(claims, claimsInDatagram) {
		msgs = append(msgs, message{claims: part})
	}
	p.spread(msgs)
}

// observe tells all whom this process finds silent, if that is news.
func (p *process) observe(silent []string) {
	own := &p.reports[p.id]
	if slices.Equal(own.silent, silent) {
		return
	}
	p.trace("finds silent", silent)
	*own = report{node: p.id, seq: own.seq + 1, silent: silent}
	r := *own
	p.spread([]message{{report: &r}})
}

// receive takes in a message, passes on what is new and corrects what is wrong.
func (p *process) receive(m *message) {
	switch {
	case m.statement != nil:
		p.swim.hear(*m.statement)
	case m.report != nil:
		p.receiveReports([]report{*m.report})
	default:
		p.receiveClaims(m.claims)
	}
}

func (p *process) receiveClaims(claims []election.Claim) {
	tell := p.ledger.Receive(claims)
	if len(tell) == 0 {
		return
	}
	slices.SortStableFunc(tell, func(a, b election.Claim) int { return p.sim.id(a.Node) - p.sim.id(b.Node) })
	for len(tell) > 0 {
		n := 1
		for n < len(tell) && n < claimsInDatagram && tell[n].Node == tell[0].Node {
			n++
		}
		p.swim.gossip.add(message{claims: tell[:n]})
		tell = tell[n:]
	}
	p.kick()
}

func (p *process) receiveReports(reports []report) {
	for _, r := range reports {
		if r.seq > p.reports[r.node].seq {
			p.reports[r.node] = r
			p.swim.gossip.add(message{report: &r})
			p.kick()
		}
	}
}

// whole is all that a process knows, as two processes tell each other when they meet.
type whole struct {
	members []statement
	claims  []election.Claim
	reports []report
}

func (p *process) whole() whole {
	reports := slices.DeleteFunc(slices.Clone(p.reports), func(r report) bool { return r.seq == 0 })
	return whole{p.swim.state(), p.ledger.All(), reports}
}

func (p *process) merge(w whole) {
	p.swim.merge(w.members)
	p.receiveClaims(w.claims)
	p.receiveReports(w.reports)
}

// exchange is memberlist's push/pull with one node, over TCP. It says whether that was reached in time.
func (p *process) exchange(node int, done func(reached bool)) {
	p.exchanges++
	deadline, over := p.now+tcpTimeout, false
	finish := func(reached bool) {
		if !over {
			over = true
			done(reached)
		}
	}
	p.after(tcpTimeout, func() { finish(false) })
	p.dial(p.id, node, deadline, func() {
		p.run(func() {
			mine := p.whole()
			p.segment(p.id, node, deadline, func(peer *process) {
				theirs := peer.whole()
				peer.segment(node, p.id, deadline, func(back *process) {
					if back == p && !over {
						p.merge(theirs)
						finish(true)
					}
				})
				peer.merge(mine)
			})
		})
	}, func() { p.after(0, func() { finish(false) }) })
}

// exchangeAll exchanges with several nodes at once and says, when all are done, how many were reached.
func (p *process) exchangeAll(nodes []int, done func(reached int)) {
	left, reached := len(nodes), 0
	for _, node := range nodes {
		p.exchange(node, func(ok bool) {
			if ok {
				reached++
			}
			if left--; left == 0 {
				done(reached)
			}
		})
	}
	if len(nodes) == 0 {
		done(0)
	}
}

// wake returns how long a goroutine takes to run after it was woken.
func (p *process) wake() time.Duration { return p.between(20*time.Microsecond, 500*time.Microsecond) }
