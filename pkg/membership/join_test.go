package membership

import (
	"context"
	"net/netip"
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
