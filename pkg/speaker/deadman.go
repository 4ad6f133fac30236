package speaker

import (
	"math"
	"sync/atomic"
	"time"
)

// deadman keeps a process that stood still from answering by what it knew before: whoever asked meanwhile waits in its sockets,
// and they are read as soon as it goes on. It is a dead man's switch. The wire watch beats; once there was no beat for pauseLimit,
// more of them are of no use until the worker has seen to what this process may have missed. Its methods may be called from any
// goroutine.
type deadman struct {
	epoch time.Time
	last  atomic.Int64 // when the last beat was, in nanoseconds since epoch
}

// newDeadman returns a deadman that is to be armed.
func newDeadman() *deadman {
	d := &deadman{epoch: time.Now()}
	d.last.Store(math.MinInt64)
	return d
}

// alive reports whether this process may answer. It costs no more than reading the clock.
func (d *deadman) alive() bool { return d.within(time.Since(d.epoch), d.last.Load()) }

func (d *deadman) within(now time.Duration, last int64) bool { return int64(now-pauseLimit) <= last }

// beat notes that the process runs. It reports whether that is enough, or the worker has to arm again.
func (d *deadman) beat(now time.Time) bool {
	at, last := now.Sub(d.epoch), d.last.Load()
	if !d.within(at, last) {
		return false
	}
	if int64(at) > last {
		d.last.CompareAndSwap(last, int64(at)) // if not, it was armed or released meanwhile
	}
	return true
}

// arm is for the worker, when nothing that it knew before is answered for any more.
func (d *deadman) arm(now time.Time) { d.last.Store(int64(now.Sub(d.epoch))) }

// release makes the process answer from now on whether there are beats or not.
func (d *deadman) release() { d.last.Store(math.MaxInt64) }
