package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// patience is how long the lab may take until all is ready, at the start and after the faults of a round.
const patience = 3 * time.Minute

// controlPlane is the lab's host of that role.
const controlPlane = "control-plane"

// nodeNames are the nodes of the lab.
var nodeNames = []string{"node1", "node2", "node3"}

// chaos is a run on a lab.
type chaos struct {
	*cluster.Cluster
	*recording
	config *configText
	clock  *wallClock
}

// run lives through the rounds of a schedule and returns what was seen.
func run(ctx context.Context, c *cluster.Cluster, rounds []round) (*History, error) {
	x := &chaos{Cluster: c, config: &configText{}, clock: machineClock()}
	if err := x.prepare(ctx); err != nil {
		return nil, err
	}
	var err error
	if x.recording, err = record(ctx, c); err != nil {
		return nil, err
	}
	err = x.firstCalm(ctx)
	for n := 0; n < len(rounds) && err == nil; n++ {
		err = x.round(ctx, n+1, len(rounds), rounds[n])
	}
	h, stopErr := x.stop()
	return h, errors.Join(err, stopErr)
}

// firstCalm waits until all is ready, and then for the calm that every round ends with.
func (x *chaos) firstCalm(ctx context.Context) error {
	if err := x.awaitReady(ctx); err != nil {
		return err
	}
	return pause(ctx, settle+calm)
}

// round has the faults of a round happen, and waits until all is ready again and calm. It is an error only if the run can't go on.
func (x *chaos) round(ctx context.Context, n, of int, r round) error {
	var faults sync.WaitGroup
	begin := time.Now()
	for i := range r {
		f := &r[i]
		faults.Go(func() { x.befall(ctx, begin, f) })
	}
	faults.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := x.awaitReady(ctx)
	ready := x.now()
	for _, f := range r {
		if err == nil {
			f.Ready = ready
		}
		x.faults = append(x.faults, f)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("after round %d: %w", n, err), ctx.Err())
	}
	progress("round %d of %d: ready at %.1f s", n, of, ready.Seconds())
	return pause(ctx, settle+calm)
}

// befall has one fault happen at its time and undoes it. The undoing is tried even if the run is told to end.
func (x *chaos) befall(ctx context.Context, begin time.Time, f *Fault) {
	if pause(ctx, time.Until(begin.Add(f.After))) != nil {
		return
	}
	d := deeds[f.Kind]
	f.Begin = x.now()
	progress("%.1f s: %s", f.Begin.Seconds(), f)
	x.try(ctx, f, "inject", d.inject)
	f.Injected = x.now()
	_ = pause(ctx, f.Length) // the fault is undone in any case
	f.Heal = x.now()
	x.try(context.WithoutCancel(ctx), f, "undo", d.undo)
	f.Undone = x.now()
	progress("%.1f s: fault %d is undone", f.Undone.Seconds(), f.Number)
}

// try does one half of a fault, again and again for as long as it fails: the API server may be away.
func (x *chaos) try(ctx context.Context, f *Fault, what string, do deed) {
	if do == nil {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not within "+patience.String()))
	defer cancel()
	if err := cluster.EventuallyEvery(ctx, 200*time.Millisecond, func() error { return do(ctx, x, f) }); err != nil {
		progress("%s fault %d: %v", what, f.Number, err)
	}
}

// awaitReady waits until all is ready.
func (x *chaos) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not ready within "+patience.String()))
	defer cancel()
	return cluster.EventuallyEvery(ctx, 200*time.Millisecond, func() error { return x.ready(ctx) })
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
