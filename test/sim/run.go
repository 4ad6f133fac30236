package main

import "time"

// outcome is what came of one schedule.
type outcome struct {
	seed uint64
	figures
	claims, moves int // addresses claimed, and those of them that another node answered for
	violation     *violation
	log           []string
}

// options say how schedules are run.
type options struct {
	profile
	tracing bool
	// newNode makes the deciding part of a speaker; nil: election.NewNode. Tests put a faulty one here.
	newNode func(name string) decider
}

// replay runs the schedule of a seed: the same seed, the same course.
func replay(seed uint64, o options) outcome {
	sch := draw(seed)
	s := newSimulation(seed, sch.nodes, o)
	for i, at := range sch.boots {
		s.after(at, func() { s.machines[i].start(s) })
	}
	for a := range sch.addrs {
		s.cluster.wanted |= 1 << a
	}
	s.checker.changed()
	for _, f := range sch.faults {
		s.plan(f)
	}
	s.tick()
	for end := calmUntil; s.now < end && s.checker.broken == nil; end = s.end(end) {
		s.run(end, s.look)
	}
	if sch.uniform {
		s.auditor.balanced()
	}
	return outcome{seed, s.checker.figures, s.auditor.claims, s.auditor.moves, s.checker.broken, s.log}
}

// end returns when all is over: when everything has settled after the last fault, or the last change.
func (s *simulation) end(planned time.Duration) time.Duration {
	last := s.checker.lastChange
	for _, f := range s.checker.faults {
		if !f.started || f.length > 0 && !f.over {
			last = max(last, s.now)
		}
	}
	return max(planned, last+s.checker.settled()+500*time.Millisecond)
}

// look lets the checker look if there is something to see.
func (s *simulation) look() {
	if s.dirty {
		s.dirty = false
		s.checker.observe()
	}
}

// tick makes it look now and then in any case.
func (s *simulation) tick() {
	s.dirty = true
	s.after(50*time.Millisecond, s.tick)
}
