package main

import (
	"net/netip"
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

// This file is pkg/speaker, with each wait as an event: the same steps in the same order around the real election.Node and
// election.Ledger. What changes there must change here.

// Timing of pkg/speaker and pkg/layer2.
const (
	pauseLimit   = 800 * time.Millisecond
	startWait    = 3 * time.Second
	handOverWait = 4 * time.Second
	leaveWait    = 2 * time.Second
	metaWait     = 300 * time.Millisecond
	joinSoon     = 200 * time.Millisecond
	joinLater    = 2 * time.Second
	probing      = 450 * time.Millisecond // three probes 150 ms apart, and as long to listen
)

// process is one run of a speaker.
type process struct {
	*machine
	sim     *simulation
	dead    bool
	paused  bool
	backlog []func() // what happens when a pause ends

	swim    *swim
	ledger  *election.Ledger
	reports []report // by node
	members nodeSet  // those that memberlist takes for live or suspects
	lost    bool     // the last member that went did so without a word

	watch      watch
	roll       roll
	attendance map[int]*attendance // by node
	attendants []*attendance

	node     decider
	cache    *cluster // what it has been told of the cluster
	able     bool
	started  bool
	leaving  bool
	busy     bool // the loop is at work
	changed  bool
	stirred  bool // there may have been a pause, or it may be time
	again    time.Time
	meta     meta
	draining bool

	joining  int // counts the kicks of keepJoining
	joinWait time.Duration
	joinBusy bool
	joinMore bool

	answers addrSet
	probed  map[netip.Addr]time.Duration // since when the LAN is asked
	// unclaimed is answered for without a claim since this node met its peers last.
	unclaimed addrSet
	met       map[int]time.Duration // when an announcement has last caused an exchange with a node
	onTurn    func()                // what waits for a change instead of the loop
}

// start starts the speaker of a machine with nothing in its memory.
func (m *machine) start(s *simulation) {
	p := m.prepare(s)
	p.keepJoining()
	p.joinAll(p.now + startWait)
}

// prepare makes the process of a machine, which takes part in the gossip and watches, and does no more yet.
func (m *machine) prepare(s *simulation) *process {
	p := &process{
		machine: m, sim: s, able: m.carrier, joinWait: joinSoon,
		ledger: election.NewLedger(m.name), node: s.newNode(m.name),
		reports: make([]report, len(m.machines)), attendance: map[int]*attendance{}, met: map[int]time.Duration{},
		probed: map[netip.Addr]time.Duration{}, cache: s.cluster,
	}
	m.process = p
	p.reports[m.id] = report{node: m.id, seq: uint64(m.time().UnixNano())}
	p.watch.p, p.roll.p = p, p
	p.swim = newSwim(p)
	p.after(p.between(0, election.ProbeInterval), p.watch.tick)
	return p
}

// joinAll joins the other speakers before anything else, until none is missing or the time is up.
func (p *process) joinAll(until time.Duration) {
	missing := p.missing()
	if len(missing) == 0 || p.now >= until {
		p.begin()
		return
	}
	p.exchangeAll(missing, func(reached int) {
		if reached == len(missing) {
			p.begin()
			return
		}
		p.after(min(joinSoon, until-p.now), func() { p.joinAll(until) })
	})
}

// begin enters the loop.
func (p *process) begin() {
	p.started, p.changed = true, false // what has changed before has caused no turn
	p.sim.noteReady(p.machine)
	p.sim.noteChange(p.id, "started")
	p.kick()
}

// missing returns the other nodes that are no members: Kubernetes lists the speakers of all, dead or alive.
func (p *process) missing() []int {
	return all(len(p.machines)).minus(p.peers()).without(p.id).list()
}

// keepJoining joins missing speakers, when something changes and now and then.
func (p *process) keepJoining() {
	if p.leaving {
		return
	}
	if p.joinBusy {
		p.joinMore = true
		return
	}
	p.joinBusy, p.joinMore = true, false
	p.joining++
	turn := p.joining
	missing := p.missing()
	p.exchangeAll(missing, func(reached int) {
		p.joinBusy = false
		switch {
		case p.joinMore:
			p.joinSoonAgain()
		case reached < len(missing):
			p.after(p.joinWait, func() {
				if turn == p.joining {
					p.keepJoining()
				}
			})
			p.joinWait = min(2*p.joinWait, joinLater)
		case len(missing) == 0:
			p.joinWait = joinSoon
		}
	})
}

// joinSoonAgain is what a kick does to keepJoining: what happens at once is looked at once.
func (p *process) joinSoonAgain() {
	p.joinWait = joinSoon
	if p.joinBusy {
		p.joinMore = true
		return
	}
	p.joinBusy = true
	p.after(joinSoon/4, func() { p.joinBusy = false; p.keepJoining() })
}

// kick makes the loop look at everything again.
func (p *process) kick() {
	if p.swim == nil {
		return // it is being made
	}
	p.joinSoonAgain()
	if !p.changed {
		p.changed = true
		p.after(p.wake(), p.turn)
	}
}

// poke makes the loop look whether there was a pause, and whether it is time.
func (p *process) poke() {
	p.stirred = true
	p.after(p.wake(), p.turn)
}

// turn is one turn of the loop, if it is not at work and there is a cause.
func (p *process) turn() {
	if p.onTurn != nil {
		if p.changed {
			p.onTurn()
		}
		return
	}
	if p.busy || !p.started || !p.changed && !p.stirred {
		return
	}
	due := false
	if p.changed && (!p.stirred || p.chance(0.5)) { // which of the two comes first is chance
		p.changed, due = false, true
	} else {
		p.stirred = false
		due = !p.again.IsZero() && !p.time().Before(p.again)
	}
	p.busy = true
	paused := p.node.Paused(p.time(), p.watch.pulse.Pause(p.time()))
	if p.node.Stalled() && !paused {
		p.joinAny(time.Second, func(bool) {})
	}
	switch {
	case paused:
		p.rejoin(election.DoubtPaused, p.turned)
	case due:
		p.sync(p.turned)
	default:
		p.turned()
	}
}

func (p *process) turned() {
	p.busy = false
	if p.leaving {
		p.handOver()
		return
	}
	if !p.again.IsZero() {
		p.after(p.again.Sub(p.time()), p.poke)
	}
	p.after(0, p.turn)
}

// sync looks at everything and does what is to be done.
func (p *process) sync(then func()) {
	p.look(func(v election.View) {
		d := p.node.Decide(v)
		if d.Doubt.Cause != "" {
			p.rejoin(d.Doubt, then)
			return
		}
		p.again = d.Again
		p.act(d, then)
	})
}

// look collects what this speaker sees, tells the peers whether it is able to announce, and hands over the view.
func (p *process) look(then func(election.View)) {
	present := p.present()
	v := election.View{Live: map[string]bool{}, Draining: map[string]bool{}, Known: len(p.machines), Able: p.able}
	for _, node := range present.list() {
		v.Live[nodeName(node)] = true
		if p.swim.members[node].draining {
			v.Draining[nodeName(node)] = true
		}
	}
	v.Addresses = p.cache.addresses(p.candidates(present))
	p.setMeta(meta{announcing: p.able, draining: p.draining}, func() {
		v.Now, v.Claims, v.Alone = p.time(), p.ledger.Claims(), p.alone()
		v.Deaf, v.Hears = p.watch.hears()
		v.Free, v.Bystanders = p.free, true
		then(v)
	})
}

// candidates returns those of the present speakers that may announce anything at all.
func (p *process) candidates(present nodeSet) nodeSet {
	var out nodeSet
	for _, node := range present.list() {
		if p.swim.members[node].announcing && !p.cache.excluded.has(node) {
			out = out.with(node)
		}
	}
	return out
}

// setMeta is membership.SetMeta: it waits until the peers have been told.
func (p *process) setMeta(m meta, then func()) {
	if p.meta == m {
		then()
		return
	}
	p.meta = m
	if p.sim.background {
		p.swim.update(m, metaWait, func() {})
		defer then()
	} else {
		p.swim.update(m, metaWait, then)
	}
	if p.sim.direct {
		said := p.swim.own()
		for _, node := range p.members.without(p.id).list() {
			p.send(node, []message{{statement: &said}})
		}
	}
}

// free reports whether the LAN was asked for an address, and nobody answered for as long as it takes.
func (p *process) free(a netip.Addr) bool {
	since, asked := p.probed[a]
	return asked && p.now-since >= probing
}

// act answers for what this node holds, and then tells the peers what it has claimed.
func (p *process) act(d election.Decision, then func()) {
	p.probe(d.Probe)
	hold, unclaimed := addrsOf(d.Hold), addrsOf(d.Lone)|addrsOf(d.Quiet)
	fresh := unclaimed &^ p.answers
	p.answer(hold | unclaimed)
	p.unclaimed = p.unclaimed&^hold | unclaimed
	p.sim.claimed(p, d.Claims)
	p.after(p.wake(), func() {
		if len(d.Claims) > 0 {
			p.claim(d.Claims)
			p.announce(addrsIn(d.Claims))
		}
		p.announce(fresh)
		p.announce(addrsOf(p.ledger.Contested()))
		then()
	})
}

// answer replaces the addresses that this node answers for.
func (p *process) answer(addrs addrSet) {
	if p.answers != addrs {
		p.trace("answers for", addrs)
		p.answers = addrs
		p.sim.dirty = true
	}
}

// probe replaces the addresses that the LAN is asked for.
func (p *process) probe(addrs []netip.Addr) {
	probed := make(map[netip.Addr]time.Duration, len(addrs))
	for _, a := range addrs {
		since, asked := p.probed[a]
		if !asked {
			since = p.now
			p.after(probing, p.kick)
		}
		probed[a] = since
	}
	p.probed = probed
}

// rejoin is for when what this node knows may be from the past: it answers for nothing until it has asked.
func (p *process) rejoin(d election.Doubt, then func()) {
	p.trace("doubts", d.Cause)
	p.answer(0)
	p.joinAny(d.Wait, func(reached bool) {
		p.trace("asked its peers, reached one", reached)
		p.node.Asked(p.time(), reached)
		if reached {
			p.renounce()
		}
		p.sync(then)
	})
}

// renounce has those announce once more that hold what this node has answered for without a claim.
func (p *process) renounce() {
	var addrs []netip.Addr
	for _, a := range p.unclaimed.list() {
		addrs = append(addrs, addrOf(a))
	}
	p.unclaimed = 0
	if vain := p.ledger.Vain(addrs); len(vain) > 0 {
		p.spread([]message{{claims: vain}})
	}
}

// joinAny exchanges claims with all other nodes and says when one has answered, or none in time.
func (p *process) joinAny(wait time.Duration, done func(bool)) {
	over := false
	finish := func(reached bool) {
		if !over {
			over = true
			done(reached)
		}
	}
	others := all(len(p.machines)).without(p.id).list()
	left := len(others)
	for _, node := range others {
		p.exchange(node, func(ok bool) {
			if left--; ok || left == 0 {
				finish(ok)
			}
		})
	}
	p.after(wait, func() { finish(false) })
}

// stop is SIGTERM: the peers take over what this node holds, and then it leaves.
func (p *process) stop() {
	if p.leaving {
		return
	}
	p.trace("is told to stop", nil)
	p.leaving = true
	if !p.started {
		p.kill()
		p.sim.noteChange(p.id, "stopped before it had started")
		return
	}
	if !p.busy {
		p.handOver()
	}
}

// handOver asks the peers to take what this node holds and answers until they have, or nobody can, or time is up.
func (p *process) handOver() {
	p.busy, p.draining = true, true
	deadline, over := p.now+handOverWait, false
	leave := func() {
		if !over {
			over = true
			p.onTurn = nil
			p.answer(0)
			p.swim.leave(leaveWait, p.exit)
		}
	}
	p.after(handOverWait, func() {
		if p.onTurn != nil {
			leave()
		}
	})
	var turn func()
	turn = func() {
		p.onTurn, p.changed = nil, false
		p.sync(func() {
			p.look(func(v election.View) {
				switch {
				case p.now >= deadline || !p.node.Relievable(v):
					leave()
				case p.changed:
					p.after(0, turn)
				default:
					p.onTurn = turn
				}
			})
		})
	}
	turn()
}

// exit is the end of a process that has left in order.
func (p *process) exit() {
	p.trace("ends", nil)
	p.kill()
	p.sim.noteChange(p.id, "ended")
}
