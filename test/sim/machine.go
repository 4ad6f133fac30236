package main

import (
	"fmt"
	"time"
)

// machine is a node: its kernel, its cable, and the process of its speaker if there is one.
type machine struct {
	*network
	id      int
	name    string
	off     bool          // without power
	frozen  bool          // all of it stands still, as a virtual machine may
	carrier bool          // the cable is plugged in
	linkUp  time.Duration // when it was last plugged in
	process *process
}

// nodeName returns the name of a node. Names sort like numbers.
func nodeName(id int) string { return names[id] }

var names = func() (out [maxNodes]string) {
	for i := range out {
		out[i] = fmt.Sprintf("node%04d", i+1)
	}
	return out
}()

// running reports whether the kernel does anything.
func (m *machine) running() bool { return !m.off && !m.frozen }

// resolve returns how long the kernel needs to find out the link-layer address of a peer: after a link was down it may ask
// in vain once, and asks again only after a second.
func (m *machine) resolve() time.Duration {
	if m.linkUp > 0 && m.now-m.linkUp < time.Second && m.chance(0.3) {
		return m.between(0, time.Second)
	}
	return 0
}

// answers returns the addresses that the node answers for on the LAN.
func (m *machine) answers() addrSet {
	if !m.running() || m.process == nil || m.process.paused {
		return 0
	}
	return m.process.answers
}

// kill ends the process at once, as SIGKILL does. Whoever has a connection to it is told by the kernel.
func (m *machine) kill() {
	p := m.process
	if p == nil {
		return
	}
	p.dead = true
	m.process = nil
	for _, a := range p.attendants {
		a.closed(m)
	}
	p.sim.noteReady(m)
}

// powerOff ends everything, and nobody is told.
func (m *machine) powerOff() {
	m.off = true
	if p := m.process; p != nil {
		p.dead = true
		m.process = nil
	}
}

// pause stops the process, or lets it go on.
func (m *machine) pause(on bool) {
	if p := m.process; p != nil && !m.frozen {
		p.pause(on)
	}
}

// freeze stops the whole machine, or lets it go on.
func (m *machine) freeze(on bool) {
	m.frozen = on
	if p := m.process; p != nil {
		p.pause(on)
	}
}

// plug connects or disconnects the cable. The process hears of it from its kernel.
func (m *machine) plug(on bool) {
	m.carrier = on
	if on {
		m.linkUp = m.now
	}
	if p := m.process; p != nil {
		p.after(m.between(time.Millisecond, 20*time.Millisecond), func() {
			if p.able != m.carrier {
				p.able = m.carrier
				p.sim.dirty = true
				p.kick()
			}
		})
	}
}

// run does something in the process: at once, or, if it is paused, when it goes on.
func (p *process) run(do func()) {
	switch {
	case p.dead:
	case p.paused:
		p.backlog = append(p.backlog, do)
	default:
		do()
	}
}

// after plans something to happen in the process.
func (p *process) after(d time.Duration, do func()) {
	p.clock.after(d, func() { p.run(do) })
}

// pause stops the process, or lets it go on. What has come meanwhile, timers included, happens then in no particular order.
func (p *process) pause(on bool) {
	if p.paused == on {
		return
	}
	p.paused = on
	if on {
		return
	}
	backlog := p.backlog
	p.backlog = nil
	p.rand.Shuffle(len(backlog), func(i, j int) { backlog[i], backlog[j] = backlog[j], backlog[i] })
	for _, do := range backlog {
		p.after(p.between(0, 2*time.Millisecond), do)
	}
}
