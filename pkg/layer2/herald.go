package layer2

import (
	"context"
	"sync"
	"time"
)

// herald does what a schedule says.
type herald struct {
	// do carries out a task and returns the number of frames sent.
	do func(task) int

	mu       sync.Mutex
	schedule *schedule
	wake     chan struct{} // holds one element if the schedule changed
}

func newHerald(s *schedule, do func(task) int) *herald {
	return &herald{do: do, schedule: s, wake: make(chan struct{}, 1)}
}

// update drops and (re)starts pairs.
func (h *herald) update(stop, start []pair) {
	if len(stop)+len(start) == 0 {
		return
	}
	h.change(func(s *schedule, now time.Time) {
		for _, p := range stop {
			s.stop(p)
		}
		for _, p := range start {
			s.start(p, now)
		}
	})
}

// probe plans rounds of probes.
func (h *herald) probe(rounds []round) {
	if len(rounds) == 0 {
		return
	}
	h.change(func(s *schedule, _ time.Time) {
		for _, r := range rounds {
			for _, p := range r.pairs() {
				s.probe(p, r.at, r.number)
			}
		}
	})
}

// defend announces a pair once, out of turn.
func (h *herald) defend(p pair) { h.change(func(s *schedule, now time.Time) { s.once(p, now) }) }

// change changes the schedule.
func (h *herald) change(f func(s *schedule, now time.Time)) {
	h.mu.Lock()
	f(h.schedule, time.Now())
	h.mu.Unlock()
	notify(h.wake)
}

// run sends until ctx is done.
func (h *herald) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-timer.C:
		}
		if wait := h.sendDue(ctx); wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// sendDue sends what is due and returns after how long there will be more; 0 means not until an update.
func (h *herald) sendDue(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		h.mu.Lock()
		t, ok, wait := h.schedule.next(time.Now())
		h.mu.Unlock()
		if !ok {
			return wait
		}
		frames := h.do(t)
		h.mu.Lock()
		h.schedule.sent(frames, time.Now())
		h.mu.Unlock()
	}
	return 0
}
