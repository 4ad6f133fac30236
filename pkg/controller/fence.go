package controller

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// fence is the lock of one election. It keeps a leader that was paused from working on, because by the time it goes on the
// Lease may be another's: the elector alone gives it renewDeadline more to find that out, and both would give out addresses.
type fence struct {
	resourcelock.Interface
	held context.Context // done when this controller has lost the Lease for good
	lose context.CancelFunc

	mu     sync.Mutex
	until  time.Time // others leave the Lease alone for renewDeadline and more; zero: it is not this controller's
	holder string    // whose the Lease was when it was last read
}

func newFence(lock resourcelock.Interface) *fence {
	f := &fence{Interface: lock}
	f.held, f.lose = context.WithCancel(context.Background())
	return f
}

// deadline returns until when a write may be under way.
func (f *fence) deadline() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.until
}

// Get reads the Lease. A leader that finds another's name in it leads no more.
func (f *fence) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := f.Interface.Get(ctx)
	if err != nil {
		return nil, nil, err
	}
	f.mu.Lock()
	f.holder = record.HolderIdentity
	lost := f.holder != f.Identity() && !f.until.IsZero()
	f.mu.Unlock()
	if lost {
		f.end()
	}
	return record, raw, nil
}

// Create makes the Lease.
func (f *fence) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return f.renew(record, func() error { return f.Interface.Create(ctx, record) })
}

// Update takes, renews or gives back the Lease. The elector gives back also what has become another's, which is not done.
func (f *fence) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if record.HolderIdentity == "" && f.othersNow() {
		return nil
	}
	return f.renew(record, func() error { return f.Interface.Update(ctx, record) })
}

func (f *fence) othersNow() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holder != f.Identity()
}

func (f *fence) renew(record resourcelock.LeaderElectionRecord, write func() error) error {
	start := time.Now() // whoever reads the Lease does so later, and waits for leaseDuration from then on
	if err := write(); err != nil {
		return err
	}
	until := f.deadline()
	switch {
	case record.HolderIdentity != f.Identity(), // given back
		f.held.Err() != nil,
		!until.IsZero() && start.After(until): // another may have led meanwhile
		f.end()
	default:
		f.mu.Lock()
		f.until = start.Add(renewDeadline)
		f.mu.Unlock()
	}
	return nil
}

func (f *fence) end() {
	f.mu.Lock()
	f.until = time.Time{}
	f.mu.Unlock()
	f.lose()
}
