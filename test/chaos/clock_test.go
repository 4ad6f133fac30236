package main

import (
	"errors"
	"testing"
	"time"
)

// fakeClock is a machine whose clocks a test moves.
type fakeClock struct {
	wall, monotonic time.Duration
	refuses         bool
}

func (f *fakeClock) pass(d time.Duration) { f.wall, f.monotonic = f.wall+d, f.monotonic+d }

func (f *fakeClock) clock() *wallClock {
	return &wallClock{
		wall:      func() (time.Duration, error) { return f.wall, nil },
		monotonic: func() (time.Duration, error) { return f.monotonic, nil },
		set: func(to time.Duration) error {
			if f.refuses {
				return errors.New("not allowed")
			}
			f.wall = to
			return nil
		},
	}
}

func TestClockIsPutBack(t *testing.T) {
	for _, by := range []time.Duration{shift, -shift, time.Nanosecond, 0} {
		f := &fakeClock{wall: 1000 * time.Hour, monotonic: time.Hour}
		c := f.clock()
		want := f.wall - f.monotonic
		for range 2 { // the second time does nothing
			if err := c.shift(by); err != nil {
				t.Fatal(err)
			}
			if got := f.wall - f.monotonic; got != want+by {
				t.Errorf("shifted by %s: off by %s", by, got-want)
			}
			f.pass(3 * time.Second)
		}
		for range 2 {
			if err := c.putBack(); err != nil {
				t.Fatal(err)
			}
			if got := f.wall - f.monotonic; got != want {
				t.Errorf("shifted by %s and put back: off by %s", by, got-want)
			}
			f.pass(3 * time.Second)
		}
	}
}

func TestClockThatCanNotBeSet(t *testing.T) {
	f := &fakeClock{wall: time.Hour, refuses: true}
	c := f.clock()
	if err := c.shift(time.Second); err == nil {
		t.Error("shift: no error")
	}
	f.refuses = false
	if err := c.putBack(); err != nil || f.wall != time.Hour {
		t.Errorf("put back what was never shifted: %v, the clock shows %s", err, f.wall)
	}
}
