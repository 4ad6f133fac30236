package main

import (
	"math/rand/v2"
	"time"
)

// event is something that happens at a moment.
type event struct {
	at  time.Duration // since the start of the simulation
	seq uint64        // of two at the same moment, the one that was planned first comes first
	do  func()
}

// clock is virtual time, and the chance that goes with it: everything that happens is an event in one queue, and all
// randomness comes from one seeded source, so a seed replays exactly.
type clock struct {
	now   time.Duration
	rand  *rand.Rand
	queue []event // a binary heap
	seq   uint64
}

func newClock(seed uint64) *clock { return &clock{rand: rand.New(rand.NewPCG(seed, 0))} }

// epoch is the time of day at the start. Only differences matter.
var epoch = time.Unix(1_000_000_000, 0)

// time returns the time of day.
func (c *clock) time() time.Time { return epoch.Add(c.now) }

// after plans an event.
func (c *clock) after(d time.Duration, do func()) {
	c.seq++
	c.queue = append(c.queue, event{c.now + max(d, 0), c.seq, do})
	for i := len(c.queue) - 1; i > 0; {
		parent := (i - 1) / 2
		if !c.before(i, parent) {
			break
		}
		c.queue[i], c.queue[parent] = c.queue[parent], c.queue[i]
		i = parent
	}
}

func (c *clock) before(i, j int) bool {
	a, b := &c.queue[i], &c.queue[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// next takes the earliest event from the queue, which is never empty: tickers run on.
func (c *clock) next() event {
	first, last := c.queue[0], len(c.queue)-1
	c.queue[0] = c.queue[last]
	c.queue[last] = event{}
	c.queue = c.queue[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if c.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		c.queue[i], c.queue[least] = c.queue[least], c.queue[i]
		i = least
	}
}

// run lets everything happen until end, and calls then after each event.
func (c *clock) run(end time.Duration, then func()) {
	for c.queue[0].at <= end {
		e := c.next()
		c.now = e.at
		e.do()
		then()
	}
	c.now = end
}

// between returns a random duration from [lo, hi).
func (c *clock) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(c.rand.Int64N(int64(hi-lo)))
}

// chance reports true with probability p.
func (c *clock) chance(p float64) bool { return p > 0 && c.rand.Float64() < p }
