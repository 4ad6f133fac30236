package membership

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"
)

// observed starts a speaker that announces one address, and an observer that has heard so.
func observed(t *testing.T) (a, o *speaker, held []Holding) {
	t.Helper()
	k := key(t, "secret")
	a, o = start(t, "node1", k), start(t, "controller", k)
	if err := o.SetMeta(Meta{Observer: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Join([]netip.AddrPort{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "an observer", func() bool {
		n := a.member("controller")
		return n != nil && bytes.Equal(n.Meta, encodeMeta(Meta{Observer: true}))
	})
	held = []Holding{{Addr: netip.MustParseAddr("192.168.1.160"), Interfaces: []string{"eth0"}, Since: time.Unix(1000, 0).UTC()}}
	if !a.Hold(held) {
		t.Fatal("the observer was not reached")
	}
	o.hears(t, "what node1 announces", held)
	return a, o, held
}

// hears waits until it has heard that node1 announces want.
func (s *speaker) hears(t *testing.T, what string, want []Holding) {
	t.Helper()
	s.eventually(t, what, func() bool { return cmp.Equal(want, s.Holdings()["node1"], cmpAddr) })
}

// member returns a copy of a member that is in sight.
func (m *Members) member(node string) *memberlist.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.members[node]
}

// holding returns what is known of a node, nil if nothing is.
func (m *Members) holding(node string) *holdings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.holdings[node]
}

// TestHoldWhenTheClockGoesBack is about a node whose clock was an hour fast: what it tells after that was mended is news.
func TestHoldWhenTheClockGoesBack(t *testing.T) {
	a, o, held := observed(t)
	for _, s := range []*speaker{a, o} {
		s.mu.Lock()
		s.holdings["node1"].Seq += uint64(time.Hour)
		s.mu.Unlock()
	}
	held = append(held, Holding{Addr: netip.MustParseAddr("192.168.1.161"), Interfaces: []string{"eth0"}})
	a.Hold(held)
	o.hears(t, "another address", held)
}

// TestHoldAfterAFailedGreeting is about an observer that can't be reached at the moment when it comes.
func TestHoldAfterAFailedGreeting(t *testing.T) {
	a, o, held := observed(t)
	unreachable := *a.member("controller")
	unreachable.Port = 1
	select {
	case <-a.changed:
	default:
	}
	a.greet(&unreachable)
	a.eventually(t, "the greeting's failure", func() bool { return a.holding("node1").untold })
	o.mu.Lock()
	delete(o.holdings, "node1")
	o.mu.Unlock()
	if !a.Hold(held) {
		t.Error("the observer was not reached")
	}
	o.hears(t, "what node1 announces", held)
}

// TestHoldingsOfALostMember has an observer take a speaker for dead that knows nothing of it, and has nothing new to tell
// afterwards.
func TestHoldingsOfALostMember(t *testing.T) {
	_, o, held := observed(t)
	n := o.member("node1")
	o.drop(n, Meta{})
	if got := o.Holdings(); len(got) > 0 {
		t.Errorf("a lost member announces %v", got)
	}
	events{o.Members}.note(n)
	o.hears(t, "what node1 announces", held)

	o.drop(n, Meta{Draining: true})
	if h := o.holding("node1"); h != nil {
		t.Errorf("of a member that took its leave %v is kept", h)
	}
	o.mu.Lock()
	o.hear([]holdings{{Node: "node9", Held: held}, {Node: "controller", Held: held}})
	o.holdings["node9"].gone = time.Now().Add(-2 * keepLost)
	o.mu.Unlock()
	o.drop(n, Meta{})
	if h := o.holding("node9"); h != nil {
		t.Errorf("of a member that was lost long ago %v is kept", h)
	}
	if h := o.holding("controller"); h != nil {
		t.Errorf("a peer says that the observer itself announces %v", h)
	}
}

// TestHoldDoesNotWaitForever tells an observer that takes the connection and reads nothing, as a process that hangs does.
func TestHoldDoesNotWaitForever(t *testing.T) {
	a, _, _ := observed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hangs := *a.member("controller")
	hangs.Port = uint16(l.Addr().(*net.TCPAddr).Port)
	many := &holdings{Node: "node1", Held: make([]Holding, 200_000)} // more than the kernel's buffers take
	told := make(chan bool, 1)
	go func() { told <- a.confide(&hangs, many) }()
	select {
	case ok := <-told:
		if ok {
			t.Error("it is told to nobody")
		}
	case <-time.After(time.Minute): // what is told takes seconds to encode on a busy machine
		t.Error("it still waits")
	}
}
