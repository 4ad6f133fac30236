package speaker

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/election"
)

// TestFirstFrame has a node take three addresses from a dead one and one from a live one: only the dead one's count, once each, also
// if it looks at everything again before they are announced, but not one that it has lost by then.
func TestFirstFrame(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	p := newPhases()
	since := func(node string) time.Time {
		if node == "node2" {
			return at(0)
		}
		return time.Time{}
	}
	lost := addr("192.168.1.5")
	held := func(a netip.Addr) bool { return a != lost }
	p.take([]election.Move{
		{Addr: addr("192.168.1.1"), From: "node2", Cause: election.CauseFailure},
		{Addr: addr("192.168.1.2"), From: "node2", Cause: election.CauseFailure},
		{Addr: addr("192.168.1.3"), From: "node3", Cause: election.CauseDrain},
		{Addr: addr("192.168.1.4"), From: "node4", Cause: election.CauseFailure}, // seen by the heartbeats
		{Addr: lost, From: "node2", Cause: election.CauseFailure},
	}, since, held)
	p.take(nil, since, held)
	var got []time.Duration
	for i, a := range []string{"192.168.1.1", "192.168.1.3", "192.168.1.4", "192.168.1.2", "192.168.1.1", lost.String()} {
		if took, ok := p.announced(addr(a), at(10*(i+1))); ok {
			got = append(got, took)
		}
	}
	if diff := cmp.Diff([]time.Duration{10 * time.Millisecond, 40 * time.Millisecond}, got); diff != "" {
		t.Errorf("first frames (-want +got):\n%s", diff)
	}
}

// TestTwiceLongAgo looks when this node has withdrawn long after the peer was heard last, which counts for nothing since then.
func TestTwiceLongAgo(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPhases()
	p.seen(addr("192.168.1.1"), now)
	p.seen(addr("192.168.1.1"), now.Add(300*time.Millisecond))
	took, next := p.ended(func(netip.Addr) bool { return false }, now.Add(10*time.Minute))
	if diff := cmp.Diff([]time.Duration{300 * time.Millisecond}, took); diff != "" || !next.IsZero() {
		t.Errorf("look again at %v, want never; had two holders for (-want +got):\n%s", next, diff)
	}
}

// TestTwice has peers announce addresses of this node: it withdraws from one, keeps one whose peer falls silent, and shares one.
func TestTwice(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	mine, theirs, both := addr("192.168.1.1"), addr("192.168.1.2"), addr("192.168.1.3")
	p := newPhases()
	for _, a := range []netip.Addr{mine, theirs, both} {
		p.seen(a, at(0))
	}
	p.seen(mine, at(200))
	p.seen(both, at(900))
	held := func(a netip.Addr) bool { return a != theirs }
	for _, step := range []struct {
		ms   int
		want []time.Duration
		next time.Time
	}{
		{30, []time.Duration{30 * time.Millisecond}, at(1200)}, // theirs
		{40, nil, at(1200)},
		{1200, []time.Duration{200 * time.Millisecond}, at(1900)}, // mine
		{1900, []time.Duration{900 * time.Millisecond}, time.Time{}},
		{3000, nil, time.Time{}},
	} {
		took, next := p.ended(held, at(step.ms))
		slices.Sort(took)
		if diff := cmp.Diff(step.want, took, cmpopts.EquateEmpty()); diff != "" || !next.Equal(step.next) {
			t.Errorf("after %d ms: look again at %v, want %v; had two holders for (-want +got):\n%s", step.ms, next, step.next, diff)
		}
	}
}
