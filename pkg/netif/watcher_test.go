package netif

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fakeSource is a kernel whose links the test sets.
type fakeSource struct {
	mu     sync.Mutex
	table  map[int]link
	scans  int
	subs   int
	failed error
	events chan []event
	broken chan error
}

func newFakeSource(links ...link) *fakeSource {
	s := &fakeSource{table: make(map[int]link), events: make(chan []event), broken: make(chan error)}
	for _, l := range links {
		s.table[l.index] = l
	}
	return s
}

func (s *fakeSource) links() ([]link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scans++
	return slices.Collect(maps.Values(s.table)), s.failed
}

func (s *fakeSource) prefixes() (map[int][]netip.Prefix, error) { return nil, nil }

func (s *fakeSource) subscribe() (subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subs++
	return &fakeSubscription{s, make(chan struct{})}, nil
}

// set changes the table without an event.
func (s *fakeSource) set(l link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table[l.index] = l
}

func (s *fakeSource) counts() (scans, subscriptions int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scans, s.subs
}

type fakeSubscription struct {
	*fakeSource
	stop chan struct{}
}

func (s *fakeSubscription) next() ([]event, error) {
	select {
	case e := <-s.events:
		return e, nil
	case err := <-s.broken:
		return nil, err
	case <-s.stop:
		return nil, unix.EBADF
	}
}

func (s *fakeSubscription) close() { close(s.stop) }

// bubble runs a watcher over a fake kernel in a bubble with its own clock.
func bubble(t *testing.T, source *fakeSource, body func(snapshots *[]*Snapshot)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		source.events, source.broken = make(chan []event), make(chan error)
		var snapshots []*Snapshot
		w := New(Config{
			Logger: slog.New(slog.DiscardHandler), OnChange: func(s *Snapshot) { snapshots = append(snapshots, s) },
		})
		w.source = source
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		body(&snapshots)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

func (s *fakeSource) send(l link, moved bool) {
	s.events <- []event{{index: l.index, link: &l, moved: moved}}
}

func TestWatcherFollowsEvents(t *testing.T) {
	eth0 := nic(2, "eth0")
	source := newFakeSource(eth0)
	bubble(t, source, func(got *[]*Snapshot) {
		if len(*got) != 1 {
			t.Fatalf("%d snapshots at the start, want 1", len(*got))
		}
		time.Sleep(time.Second)
		down := eth0
		down.flags = unix.IFF_UP
		source.set(down)
		source.send(down, false)
		synctest.Wait() // no time passes: the first event is acted upon at once
		if len(*got) != 2 || (*got)[1].Interfaces()[0].Skip != SkipNoCarrier {
			t.Fatalf("after the event: %+v", *got)
		}
		// A series of events costs one more scan.
		before, _ := source.counts()
		for range 100 {
			source.send(down, false)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if after, _ := source.counts(); after != before+1 {
			t.Errorf("%d scans for a series of events, want 1", after-before)
		}
		if len(*got) != 2 {
			t.Errorf("%d snapshots though nothing changed, want 2", len(*got))
		}
	})
}

func TestWatcherSeesFlaps(t *testing.T) {
	eth0 := nic(2, "eth0")
	down, other := eth0, eth0
	down.flags = unix.IFF_UP
	other.mac = []byte{2, 9, 9, 9, 9, 9}
	counted := eth0
	counted.carrier = 1
	tests := []struct {
		name   string
		flap   func(s *fakeSource)
		epochs bool
	}{
		{"down and up between two scans", func(s *fakeSource) { s.send(down, false); s.send(eth0, false) }, true},
		{"carrier count", func(s *fakeSource) { s.set(counted); s.send(counted, false) }, true},
		{"MAC there and back", func(s *fakeSource) { s.send(other, false); s.send(eth0, false) }, true},
		{"removed and back", func(s *fakeSource) { s.events <- []event{{index: 2, removed: true}}; s.send(eth0, false) }, true},
		{"bond switched ports", func(s *fakeSource) { s.send(eth0, true) }, true},
		{"nothing of note", func(s *fakeSource) { s.send(eth0, false); s.events <- []event{{index: 2}} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source := newFakeSource(eth0)
			bubble(t, source, func(got *[]*Snapshot) {
				tt.flap(source)
				time.Sleep(time.Second)
				synctest.Wait()
				changed := len(*got) == 2 && (*got)[1].Interfaces()[0].Epoch != (*got)[0].Interfaces()[0].Epoch
				if changed != tt.epochs {
					t.Errorf("epoch changed: %v, want %v (%d snapshots)", changed, tt.epochs, len(*got))
				}
			})
		})
	}
}

// TestWatcherSeesMovesBelow: the kernel tells of a bond that switched ports, and tells the VLANs of the bond, but not a bridge
// that the bond is in, and nothing that is on the bridge.
func TestWatcherSeesMovesBelow(t *testing.T) {
	on := func(l link, master, parent int) link { l.master, l.parent = master, parent; return l }
	bond, vlan := on(nic(4, "bond0"), 6, 0), on(nic(5, "bond0.7"), 9, 4)
	links := []link{
		on(nic(2, "eth0"), 4, 0), on(nic(3, "eth1"), 4, 0), bond, vlan, nic(6, "br0"), on(nic(7, "br0.5"), 0, 6),
		nic(8, "eth2"), nic(9, "br7"), on(nic(10, "br0.6"), 11, 6), nic(11, "br6"),
	}
	for _, tt := range []struct {
		name  string
		moved link
		want  []string
	}{
		{"bond", bond, []string{"br0", "br0.5", "br6"}},
		{"VLAN of the bond", vlan, []string{"br7"}},
		{"the bond's member", links[0], []string{"br0", "br0.5", "br7", "br6"}},
		{"bridge", links[4], []string{"br0"}},
		{"another one", links[6], []string{"eth2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			source := newFakeSource(links...)
			bubble(t, source, func(got *[]*Snapshot) {
				source.send(tt.moved, true)
				time.Sleep(time.Second)
				synctest.Wait()
				var changed []string
				for k, i := range (*got)[len(*got)-1].Interfaces() {
					if i.Epoch != (*got)[0].Interfaces()[k].Epoch {
						changed = append(changed, i.Name)
					}
				}
				if diff := cmp.Diff(tt.want, changed); diff != "" {
					t.Errorf("interfaces with a new epoch (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestWatcherIgnoresPods(t *testing.T) {
	pod := nic(3, "veth1")
	source := newFakeSource(nic(2, "eth0"), pod)
	bubble(t, source, func(got *[]*Snapshot) {
		before, _ := source.counts()
		for range 100 {
			source.send(pod, false)
			source.events <- []event{{index: 3}}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if after, _ := source.counts(); after != before {
			t.Errorf("%d scans for events of an excluded interface", after-before)
		}
		renamed := nic(3, "eth1")
		source.set(renamed)
		source.send(renamed, false)
		time.Sleep(time.Second)
		synctest.Wait()
		if last := (*got)[len(*got)-1]; !last.Interfaces()[1].Eligible() {
			t.Error("a new name goes unnoticed")
		}
	})
}

func TestWatcherRecovers(t *testing.T) {
	source := newFakeSource(nic(2, "eth0"))
	bubble(t, source, func(got *[]*Snapshot) {
		source.set(nic(3, "eth1")) // while the kernel's buffer overflows
		source.broken <- unix.ENOBUFS
		synctest.Wait()
		if len(*got) != 2 {
			t.Errorf("%d snapshots after a lost event, want 2", len(*got))
		}
		time.Sleep(2 * retryAfter)
		if _, subs := source.counts(); subs != 2 {
			t.Errorf("%d subscriptions, want 2", subs)
		}
		source.set(nic(4, "eth2")) // and nobody says so
		time.Sleep(2 * defaultRescan)
		synctest.Wait()
		if len(*got) != 3 {
			t.Errorf("%d snapshots after the slow scan, want 3", len(*got))
		}
	})
}

func TestWatcherScanFails(t *testing.T) {
	source := newFakeSource(nic(2, "eth0"))
	source.failed = unix.EPERM
	bubble(t, source, func(got *[]*Snapshot) {
		if len(*got) != 0 {
			t.Errorf("a snapshot from a failed scan: %+v", *got)
		}
		source.mu.Lock()
		source.failed = nil
		source.mu.Unlock()
		time.Sleep(2 * defaultRescan)
		synctest.Wait()
		if len(*got) != 1 {
			t.Errorf("%d snapshots, want 1", len(*got))
		}
	})
}
