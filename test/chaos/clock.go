package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// shift is by how much the wall clock is off at most.
const shift = 5 * time.Second

// wallClock is the machine's. Tests have another.
type wallClock struct {
	wall, monotonic func() (time.Duration, error)
	set             func(time.Duration) error

	shifted bool
	offset  time.Duration // of the wall clock from the monotonic one, before it was shifted
}

// machineClock is the clock of this machine.
func machineClock() *wallClock {
	return &wallClock{
		wall:      func() (time.Duration, error) { return read(unix.CLOCK_REALTIME) },
		monotonic: func() (time.Duration, error) { return read(unix.CLOCK_MONOTONIC) },
		set: func(to time.Duration) error {
			then := unix.NsecToTimespec(to.Nanoseconds())
			return unix.ClockSettime(unix.CLOCK_REALTIME, &then)
		},
	}
}

func read(clock int32) (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(clock, &now)
	return time.Duration(now.Nano()), err
}

// shift sets the wall clock off by some time, once.
func (c *wallClock) shift(by time.Duration) error {
	if c.shifted {
		return nil
	}
	wall, err := c.wall()
	if err != nil {
		return fmt.Errorf("read wall clock: %w", err)
	}
	monotonic, err := c.monotonic()
	if err != nil {
		return fmt.Errorf("read monotonic clock: %w", err)
	}
	c.offset = wall - monotonic
	if err := c.set(wall + by); err != nil {
		return fmt.Errorf("set wall clock: %w", err)
	}
	c.shifted = true
	return nil
}

// putBack sets the wall clock to what it would show had it never been shifted: the monotonic clock has gone on all the time.
func (c *wallClock) putBack() error {
	if !c.shifted {
		return nil
	}
	monotonic, err := c.monotonic()
	if err != nil {
		return fmt.Errorf("read monotonic clock: %w", err)
	}
	if err := c.set(monotonic + c.offset); err != nil {
		return fmt.Errorf("set wall clock: %w", err)
	}
	c.shifted = false
	return nil
}

// jump shifts the machine's wall clock by up to five seconds, in a direction that follows from the fault's number.
func jump(_ context.Context, x *chaos, f *Fault) error {
	r := rand.New(rand.NewPCG(uint64(f.Number), 0))
	return x.clock.shift(time.Duration(r.Int64N(int64(2*shift))) - shift)
}

func jumpBack(_ context.Context, x *chaos, _ *Fault) error { return x.clock.putBack() }
