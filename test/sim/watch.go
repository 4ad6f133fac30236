package main

import (
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

// This file is the wire watch of pkg/speaker and the presence of pkg/membership.

// watch is one process's part in the wire watch.
type watch struct {
	p        *process
	targets  []*target // sorted by node
	lastTick time.Duration
	round    time.Duration // when all are asked again
	missing  map[int]*absence
	pulse    election.Pulse
}

// target is a node that is watched.
type target struct {
	election.Sentry
	node   int
	heard  bool // it has ever answered
	silent bool
	mute   bool // its kernel is silent
}

// set replaces the nodes to watch.
func (w *watch) set(nodes nodeSet) {
	targets := make([]*target, 0, len(w.targets))
	for _, node := range nodes.list() {
		t := &target{node: node}
		if i := slices.IndexFunc(w.targets, func(t *target) bool { return t.node == node }); i >= 0 {
			t = w.targets[i]
		}
		targets = append(targets, t)
	}
	w.targets = targets
}

// tick judges every target and asks it again.
func (w *watch) tick() {
	p := w.p
	if p.leaving {
		return
	}
	if w.pulse.Beat(p.time()) {
		p.poke()
	}
	everyone := p.now >= w.round
	if everyone {
		w.round = p.now + election.ProbeInterval
	}
	next := w.round
	defer func() { p.after(next-p.now, w.tick) }()
	late := p.now-w.lastTick > 2*election.ProbeInterval
	w.lastTick = p.now
	news := false
	var back []int
	for _, t := range w.targets {
		t.Gone(p.attendance[t.node].ended)
		if !late {
			t.mute = t.Mute(p.time())
		}
		if silent := t.Silent(p.time()); silent != t.silent && !late {
			t.silent, news = silent, true
			if !silent {
				back = append(back, t.node)
			}
		}
		overdue := t.Overdue(p.time())
		if overdue {
			next = min(next, p.now+election.HurryInterval)
		}
		if (everyone || overdue) && p.able { // what was not asked is not missed
			p.ask(p.id, t.node, func() { p.run(func() { t.heard = true; t.Answered(p.time(), 1) }) })
			t.Asked(p.time())
		}
	}
	if news || p.sim.refresh {
		p.observe(w.silentNames()) // also when one that was silent is not watched any more
	}
	if news {
		p.kick()
	}
	for _, node := range back {
		p.exchange(node, func(bool) {})
	}
	if everyone {
		w.seek()
	}
}

// absence is that of a node that is no member.
type absence struct{ since, asked time.Duration }

// seek asks the nodes that this one would watch if all were members, for those that are not, and meets those that answer. So
// the end of a partition is noticed.
func (w *watch) seek() {
	p := w.p
	if !p.sim.seek || !p.able {
		return
	}
	old := w.missing
	w.missing = map[int]*absence{}
	for _, node := range p.sim.targets(all(len(p.machines)))[p.id].minus(p.peers()).list() {
		m := old[node]
		if m == nil {
			m = &absence{since: p.now}
		}
		w.missing[node] = m
		if p.now-m.asked < election.SeekInterval(p.now-m.since) {
			continue
		}
		m.asked = p.now
		p.ask(p.id, node, func() {
			p.run(func() {
				if !p.peers().has(node) {
					p.exchange(node, func(bool) {})
				}
			})
		})
	}
}

func (w *watch) silentNames() []string {
	var names []string
	for _, t := range w.targets {
		if t.silent || !t.heard && w.p.roll.absent.has(t.node) {
			names = append(names, nodeName(t.node))
		}
	}
	slices.Sort(names)
	return names
}

// hears reports whether all are silent that are watched, and whether one of them answers.
func (w *watch) hears() (deaf, hears bool) {
	deaf = len(w.targets) > 0
	for _, t := range w.targets {
		deaf = deaf && t.mute
		hears = hears || t.heard && !t.mute
	}
	return deaf, hears
}

// present returns the members that are not dead on the wire, and sees to it that this node watches whom it should.
func (p *process) present() nodeSet {
	watched := p.peers()
	if watched.without(p.id).empty() { // whether anybody answers is of interest
		watched = p.sim.ready.with(p.id)
	}
	targets := p.sim.targets(watched)[p.id]
	p.watch.set(targets)
	if p.sim.refresh {
		p.observe(p.watch.silentNames())
	}
	p.attend(targets)
	reports, news := map[string][]string{}, false
	for _, node := range p.peers().list() {
		if r := p.reports[node]; len(r.silent) > 0 {
			reports[nodeName(node)], news = r.silent, true
		}
	}
	present := p.peers()
	var silent map[string]bool
	own := p.reports[p.id].silent
	if news { // otherwise nobody is silent
		reports[p.name] = append(p.roll.absent.names(), own...)
		silent = election.Silent(p.name, watched.names(), reports)
		for name := range silent {
			present = present.without(p.sim.id(name))
		}
	}
	deaf, _ := p.watch.hears()
	p.roll.note(deaf || p.inQuestion(watched, own, silent), deaf)
	return present
}

// Timing of the presence of pkg/membership, and of TCP as Go sets it up.
const (
	helloWait   = time.Second
	redialSoon  = 50 * time.Millisecond
	redialLater = 2 * time.Second
	keepAlive   = 15 * time.Second
)

// attendance is a connection, over which nothing is said, by which a process learns when the process of another node ends.
type attendance struct {
	p     *process
	node  int
	over  bool     // it is not wanted any more
	peer  *process // the other end, while it is connected
	met   bool
	ended bool
	wait  time.Duration // before the next attempt
}

// attend replaces the nodes to attend to.
func (p *process) attend(nodes nodeSet) {
	for node := range len(p.machines) {
		switch a := p.attendance[node]; {
		case a == nil && nodes.has(node):
			p.attendance[node] = &attendance{p: p, node: node, wait: redialSoon}
			p.attendance[node].connect()
		case a != nil && !nodes.has(node):
			a.hangUp()
			a.over = true
			delete(p.attendance, node)
		}
	}
}

func (a *attendance) hangUp() {
	if a.peer != nil {
		a.peer.attendants = slices.DeleteFunc(a.peer.attendants, func(b *attendance) bool { return a == b })
		a.peer = nil
	}
}

// later does something in the process unless it is no longer wanted by then.
func (a *attendance) later(d time.Duration, do func()) {
	a.p.after(d, func() {
		if !a.over {
			do()
		}
	})
}

func (a *attendance) connect() {
	p, over, deadline := a.p, false, a.p.now+redialLater
	finish := func(do func()) {
		if !over {
			over = true
			do()
		}
	}
	fail := func() { finish(a.redial) }
	a.later(redialLater, fail)
	p.dial(p.id, a.node, deadline, func() {
		a.later(helloWait, fail)
		p.segment(p.id, a.node, p.now+helloWait, func(peer *process) {
			peer.segment(a.node, p.id, peer.now+helloWait, func(back *process) {
				if back == p {
					a.later(0, func() { finish(func() { a.meet(peer) }) })
				}
			})
		})
	}, func() {
		a.later(0, func() {
			finish(func() {
				if a.met {
					a.note(true)
					a.wait = redialSoon
				}
				a.redial()
			})
		})
	})
}

func (a *attendance) redial() {
	a.later(a.wait, a.connect)
	a.wait = min(2*a.wait, redialLater)
}

func (a *attendance) meet(peer *process) {
	a.met, a.wait = true, redialSoon
	a.note(false)
	if peer.dead {
		a.closed(peer.machine)
		return
	}
	a.peer = peer
	peer.attendants = append(peer.attendants, a)
	a.keepAlive(peer)
}

// keepAlive finds out in the end that the machine at the other end has been started anew, or is gone.
func (a *attendance) keepAlive(peer *process) {
	a.later(keepAlive, func() {
		switch {
		case a.peer != peer:
		case peer.dead && peer.machine.running():
			a.hangUp()
			a.connect()
		default:
			a.keepAlive(peer)
		}
	})
}

func (a *attendance) note(ended bool) {
	if a.ended != ended {
		a.ended = ended
		a.p.trace("hears that the process has ended or is back", nodeName(a.node))
		a.p.kick()
	}
}

// closed is called when the process at the other end has ended: its kernel says so, again and again until it is heard.
func (a *attendance) closed(m *machine) {
	a.peer = nil
	m.retransmit(m.id, a.p.id, m.now+time.Minute, firstRetransmit, func() { a.later(0, a.connect) })
}

// inQuestion reports whether a roll call is needed for a node that not enough call silent.
func (p *process) inQuestion(peers nodeSet, own []string, silent map[string]bool) bool {
	accused := func(node string) bool { return !silent[node] && peers.has(p.sim.id(node)) }
	if slices.ContainsFunc(own, accused) {
		return true
	}
	for _, peer := range peers.minus(p.roll.absent).list() {
		if !silent[nodeName(peer)] && slices.ContainsFunc(p.reports[peer].silent, accused) {
			return len(peers.list()) <= rollForOthers
		}
	}
	return false
}
