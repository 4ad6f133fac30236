package layer2

import (
	"context"
	"sync"
	"time"
)

// herald sends gratuitous frames by a schedule.
type herald struct {
	// send announces a pair and returns the number of frames sent.
	send func(pair) int

	mu       sync.Mutex
	schedule *schedule
	wake     chan struct{} // holds one element if the schedule changed
}

func newHerald(s *schedule, send func(pair) int) *herald {
	return &herald{send: send, schedule: s, wake: make(chan struct{}, 1)}
}

// update drops and (re)starts pairs.
func (h *herald) update(stop, start []pair) {
	if len(stop)+len(start) == 0 {
		return
	}
	h.mu.Lock()
	now := time.Now()
	for _, p := range stop {
		h.schedule.stop(p)
	}
	for _, p := range start {
		h.schedule.start(p, now)
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
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
		p, ok, wait := h.schedule.next(time.Now())
		h.mu.Unlock()
		if !ok {
			return wait
		}
		frames := h.send(p)
		h.mu.Lock()
		h.schedule.sent(frames, time.Now())
		h.mu.Unlock()
	}
	return 0
}
