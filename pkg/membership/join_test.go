package membership

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// addresses is a Lister that a test changes.
type addresses struct {
	mu   sync.Mutex
	list []netip.AddrPort
}

func (a *addresses) set(list ...netip.AddrPort) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = list
}

func (a *addresses) get() []netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]netip.AddrPort(nil), a.list...)
}

// unreachable is where nobody listens.
var unreachable = netip.MustParseAddrPort("127.0.0.9:1")

func TestJoinAny(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	var listed addresses
	if err := a.JoinAny(listed.get, time.Second); err != nil {
		t.Errorf("nobody is listed: %v", err)
	}
	listed.set(unreachable)
	if err := a.JoinAny(listed.get, time.Minute); err == nil {
		t.Error("nobody answers, and there is no error")
	}
	listed.set(unreachable, b.Addr())
	if err := a.JoinAny(listed.get, time.Minute); err != nil {
		t.Errorf("one of two answers: %v", err)
	}
}

func TestJoinAll(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	var listed addresses
	listed.set(b.Addr())
	a.JoinAll(t.Context(), listed.get, time.Minute)
	a.eventually(t, "both", func() bool { return len(a.Peers()) == 2 })

	listed.set(b.Addr(), unreachable)
	begin := time.Now()
	a.JoinAll(t.Context(), listed.get, 10*time.Millisecond)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("waited %v for a speaker that nobody reaches", took)
	}
}

// TestKeepJoining lists a speaker that is not up yet, and one more later.
func TestKeepJoining(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	var listed addresses
	again := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.KeepJoining(ctx, listed.get, again) }()
	listed.set(unreachable, b.Addr())
	again <- struct{}{}
	a.eventually(t, "both", func() bool { return len(a.Peers()) == 2 })
	cancel()
	<-done
}

// TestSome is about a cluster of hundreds: of many, few are asked, and not always the same.
func TestSome(t *testing.T) {
	var all []netip.AddrPort
	for i := range 200 {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), DefaultPort))
	}
	asked := map[netip.AddrPort]bool{}
	for range 1000 {
		few := some(slices.Clone(all))
		if len(few) != joinAtOnce {
			t.Fatalf("%d are asked at once, want %d", len(few), joinAtOnce)
		}
		for _, a := range few {
			asked[a] = true
		}
	}
	if len(asked) != len(all) {
		t.Errorf("%d of %d are ever asked", len(asked), len(all))
	}
	if few := some(slices.Clone(all[:3])); len(few) != 3 {
		t.Errorf("%d of three are asked", len(few))
	}
}

// TestJoinThroughOthers lists more than are asked at once, of which one has met the others.
func TestJoinThroughOthers(t *testing.T) {
	k := key(t, "secret")
	a, hub := start(t, "a", k), start(t, "hub", k)
	var listed addresses
	all := []netip.AddrPort{hub.Addr()}
	for i := range 2 * joinAtOnce {
		s := start(t, fmt.Sprint("node", i), k)
		all = append(all, s.Addr())
		if n, err := hub.Join([]netip.AddrPort{s.Addr()}); n != 1 {
			t.Fatal(err)
		}
	}
	listed.set(all...)
	a.JoinAll(t.Context(), listed.get, time.Minute)
	if got, want := len(a.Peers()), len(all)+1; got != want {
		t.Errorf("%d members, want %d", got, want)
	}
}

// TestJoinAnyAmongMany asks many of which the first ones don't answer.
func TestJoinAnyAmongMany(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	var listed addresses
	all := []netip.AddrPort{b.Addr()}
	for i := range 3 * joinAtOnce {
		all = append(all, netip.AddrPortFrom(unreachable.Addr(), uint16(1+i)))
	}
	listed.set(all...)
	if err := a.JoinAny(listed.get, time.Minute); err != nil {
		t.Errorf("one of many answers: %v", err)
	}
}
