package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// sharedLease is the Lease as the API server has it; err is what a request for it meets.
type sharedLease struct {
	record resourcelock.LeaderElectionRecord
	err    error
}

// lockOf is one controller's way to it.
type lockOf struct {
	resourcelock.Interface
	lease    *sharedLease
	identity string
}

func (l lockOf) Identity() string { return l.identity }

func (l lockOf) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if l.lease.err != nil {
		return nil, nil, l.lease.err
	}
	record := l.lease.record
	return &record, nil, nil
}

func (l lockOf) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	if l.lease.err == nil {
		l.lease.record = record
	}
	return l.lease.err
}

func TestFence(t *testing.T) {
	mine, others, nobodys := resourcelock.LeaderElectionRecord{HolderIdentity: "me"},
		resourcelock.LeaderElectionRecord{HolderIdentity: "other"}, resourcelock.LeaderElectionRecord{}
	errAway := errors.New("the API server is away")
	for _, tt := range []struct {
		name  string
		steps func(t *testing.T, f *fence, lease *sharedLease)
		left  time.Duration // for which writes are allowed
		lost  bool
		lease string
	}{
		{name: "just acquired", steps: func(*testing.T, *fence, *sharedLease) {}, left: renewDeadline, lease: "me"},
		{name: "renewed", left: renewDeadline, lease: "me", steps: func(t *testing.T, f *fence, _ *sharedLease) {
			time.Sleep(renewDeadline - time.Second)
			must(t, f.Update(t.Context(), mine))
		}},
		{name: "not renewed", left: -time.Second, lease: "me", steps: func(t *testing.T, f *fence, lease *sharedLease) {
			lease.err = errAway
			time.Sleep(renewDeadline + time.Second)
			if err := f.Update(t.Context(), mine); !errors.Is(err, errAway) {
				t.Errorf("Update: %v, want %v", err, errAway)
			}
		}},
		{name: "renewed too late", lost: true, lease: "me", steps: func(t *testing.T, f *fence, _ *sharedLease) {
			time.Sleep(leaseDuration + time.Second)
			must(t, f.Update(t.Context(), mine))
			must(t, f.Update(t.Context(), mine)) // which brings nothing back
		}},
		{name: "taken by another", lost: true, lease: "other", steps: func(t *testing.T, f *fence, lease *sharedLease) {
			lease.record = others
			_, _, err := f.Get(t.Context())
			must(t, err)
			must(t, f.Update(t.Context(), nobodys)) // the elector gives back what it believes to be its own
		}},
		{name: "given back", lost: true, steps: func(t *testing.T, f *fence, _ *sharedLease) {
			must(t, f.Update(t.Context(), nobodys))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lease := &sharedLease{}
				f := newFence(lockOf{lease: lease, identity: "me"})
				defer f.lose()
				if !f.deadline().IsZero() {
					t.Errorf("writes are allowed before the Lease is acquired")
				}
				must(t, f.Update(t.Context(), mine))
				_, _, err := f.Get(t.Context())
				must(t, err)
				tt.steps(t, f, lease)
				if got := f.held.Err() != nil; got != tt.lost {
					t.Errorf("lost is %t, want %t", got, tt.lost)
				}
				if got := time.Until(f.deadline()); !tt.lost && got != tt.left {
					t.Errorf("writes are allowed for %s, want %s", got, tt.left)
				}
				if tt.lost && !f.deadline().IsZero() {
					t.Errorf("writes are allowed until %s, want none", f.deadline())
				}
				if got := lease.record.HolderIdentity; got != tt.lease {
					t.Errorf("the Lease is %q's, want %q's", got, tt.lease)
				}
			})
		})
	}
}
