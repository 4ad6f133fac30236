package main

import "time"

// This file is the roll call of pkg/speaker and pkg/membership.

// Timing of a roll call.
const (
	rollSoon  = 300 * time.Millisecond
	rollAgain = time.Second
	rollLater = 4 * time.Second
	// rollForOthers is how large a cluster may be in which a process calls the roll on the word of another.
	rollForOthers = 32
	rollWait      = time.Second // the sum of membership's rollPauses
)

// rollAsks returns when each question of a roll call is asked.
func rollAsks() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{0, 100 * ms, 300 * ms, 600 * ms}
}

// roll finds out for a process that may be in the smaller part of the LAN who is left.
type roll struct {
	p          *process
	needed     bool
	calling    bool
	waits      bool          // with the first call
	wait       time.Duration // before the next call
	peers      int           // that were asked by the last call
	asked      nodeSet       // those of them that have not answered yet
	absent     nodeSet       // those that have not answered, nor been heard of since
	before     nodeSet       // absent when the last call began, and goneBefore the same of gone
	gone       bool          // the absent ones are no members
	goneBefore bool
}

// note takes in whether a roll call is needed, and at once.
func (r *roll) note(needed, atOnce bool) {
	if r.needed = needed; needed && !r.calling && r.p.sim.rolls {
		r.calling, r.waits, r.wait = true, true, rollAgain
		r.p.after(rollSoon, r.begin)
	}
	if atOnce {
		r.begin()
	}
}

// begin makes the first of some calls, unless that was done.
func (r *roll) begin() {
	if r.waits {
		r.waits = false
		r.call()
	}
}

func (r *roll) call() {
	if r.calling = r.needed; !r.calling {
		return
	}
	r.before, r.goneBefore = r.absent, r.gone
	r.asked = r.p.peers().without(r.p.id)
	r.peers = len(r.asked.list())
	for _, node := range r.asked.list() {
		for _, at := range rollAsks() {
			r.p.after(at, func() {
				if r.asked.has(node) {
					r.p.swim.ping(node, func() {})
				}
			})
		}
	}
	r.p.after(rollWait, func() {
		r.end()
		r.p.after(r.wait, r.call)
		r.wait = min(2*r.wait, rollLater)
	})
}

// end notes who has not answered. They count as gone if no more than half of all are left.
func (r *roll) end() {
	if r.gone {
		for _, node := range r.absent.list() {
			r.asked = r.asked.with(node)
			r.peers++
		}
	}
	r.absent, r.asked = r.asked, nodeSet{}
	n := len(r.absent.list())
	r.gone = n > 0 && 2*(1+r.peers-n) <= 1+r.peers
	if r.gone != r.goneBefore || r.absent != r.before {
		r.p.trace("has no answer from", r.absent)
		r.p.kick()
	}
}

// sign takes notice of something that comes from a node.
func (r *roll) sign(from int) {
	r.asked = r.asked.without(from)
	if r.gone && r.absent.has(from) {
		for _, node := range r.absent.and(r.p.members).list() {
			r.p.after(0, func() { r.p.greet(node) })
		}
		r.absent, r.gone = nodeSet{}, false
		r.p.kick()
	}
	r.absent = r.absent.without(from)
}

// peers returns the members that are not gone.
func (p *process) peers() nodeSet {
	if p.roll.gone {
		return p.members.minus(p.roll.absent)
	}
	return p.members
}
