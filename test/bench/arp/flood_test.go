package arp

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Pace of foreign frames on each cable: 50,000 in a second.
const (
	burst    = 50
	interval = time.Millisecond
)

// flood is what bursts of foreign frames took: one on a cable with a listener at the other end, one on a cable without, and so
// on. Times are those of a frame.
type flood struct {
	with, without []time.Duration
	// differences are those of the two cables, each the mean of two intervals with the bursts in either order: the first burst
	// after a pause takes longer than the second by more than what is measured.
	differences []time.Duration
	wall        time.Duration // from the first burst to the last, pauses included
}

// rate returns the number of frames in a second on each cable.
func (f *flood) rate() float64 { return float64(len(f.with)*burst) / f.wall.Seconds() }

// summary tells the halves apart, so that one sees whether the machine was quiet.
func (f *flood) summary() string {
	return fmt.Sprintf("%.0f in a second, %s us each with a listener, %s without; "+
		"the difference is %s in the median of %d (quartiles %s and %s)",
		f.rate(), text(percentile(f.with, 50)), text(percentile(f.without, 50)),
		text(percentile(f.differences, 50)), len(f.differences),
		text(percentile(f.differences, 25)), text(percentile(f.differences, 75)))
}

// target is a cable to broadcast requests on, for each of the addresses in turn.
type target struct {
	client *client
	ips    [][4]byte
	next   int
}

func newTarget(c *client, addrs []netip.Addr) *target {
	t := &target{client: c}
	for _, addr := range addrs {
		t.ips = append(t.ips, addr.As4())
	}
	return t
}

// burst returns how long a frame took.
func (t *target) burst() time.Duration {
	begin := time.Now()
	for range burst {
		t.client.send(t.ips[t.next])
		t.next = (t.next + 1) % len(t.ips)
	}
	return time.Since(begin) / burst
}

// runFlood sends a burst on each of the two cables in every interval. The number of intervals is even.
func runFlood(with, without *target, bursts int) flood {
	runtime.LockOSThread() // a change of the thread would be part of the time
	defer runtime.UnlockOSThread()
	var f flood
	begin, start := time.Now(), monotonic(with.client)
	for i := range bursts {
		sleepUntil(with.client, start+time.Duration(i)*interval)
		if i%2 == 0 {
			f.with = append(f.with, with.burst())
			f.without = append(f.without, without.burst())
			continue
		}
		f.without = append(f.without, without.burst())
		f.with = append(f.with, with.burst())
		f.differences = append(f.differences, (f.with[i-1]-f.without[i-1]+f.with[i]-f.without[i])/2)
	}
	f.wall = time.Since(begin)
	return f
}

// monotonic reads the kernel's clock of that name, which sleepUntil goes by. Go's timers are too coarse.
func monotonic(c *client) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		c.tb.Fatal("read clock: ", err)
	}
	return time.Duration(ts.Nano())
}

// sleepUntil returns at a time of the monotonic clock, at once if it is over.
func sleepUntil(c *client, t time.Duration) {
	at := unix.NsecToTimespec(int64(t))
	for {
		switch err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil); err {
		case nil:
			return
		case unix.EINTR: // a signal of Go's scheduler
		default:
			c.tb.Fatal("sleep: ", err)
		}
	}
}
