package membership

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/election"
)

var cmpAddr = cmpopts.EquateComparable(netip.Addr{})

// speaker is a member on loopback together with its change signal.
type speaker struct {
	*Members
	changed chan struct{}
}

func start(t *testing.T, node string, key []byte) *speaker {
	t.Helper()
	s := &speaker{changed: make(chan struct{}, 1)}
	m, err := Start(Config{
		Node: node, BindAddr: netip.MustParseAddr("127.0.0.1"), Key: key,
		Logger: slog.New(slog.DiscardHandler),
		OnChange: func() {
			select {
			case s.changed <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Members = m
	t.Cleanup(func() { _ = m.Close() })
	return s
}

// eventually waits for want, which must hold within ten seconds, looking again after each change.
func (s *speaker) eventually(t *testing.T, what string, want func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !want() {
		select {
		case <-s.changed:
		case <-deadline:
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func (s *speaker) names() []string {
	var names []string
	for _, p := range s.Peers() {
		names = append(names, p.Name)
	}
	return names
}

func key(t *testing.T, secret string) []byte {
	t.Helper()
	k, err := DeriveKey([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDeriveKey(t *testing.T) {
	a, b := key(t, "one"), key(t, "two")
	if len(a) != 32 || bytes.Equal(a, b) || !bytes.Equal(a, key(t, "one")) {
		t.Errorf("keys %x and %x: want 32 bytes each, different, and the same for the same secret", a, b)
	}
	if _, err := DeriveKey(nil); err == nil {
		t.Error("an empty secret gives a key")
	}
}

func TestClaimsReachEveryMember(t *testing.T) {
	k := key(t, "secret")
	a, b, c := start(t, "node1", k), start(t, "node2", k), start(t, "node3", k)
	before := election.Claim{Addr: netip.MustParseAddr("192.168.1.160"), Node: "node1", Seq: 1}
	a.Claim([]election.Claim{before})

	// Joining brings what was claimed before.
	for _, s := range []*speaker{b, c} {
		if n, err := s.Join([]netip.AddrPort{a.Addr()}); n != 1 || err != nil {
			t.Fatalf("Join = %d, %v", n, err)
		}
		if diff := cmp.Diff(election.Claims{before.Addr: before}, s.Claims(), cmpAddr); diff != "" {
			t.Fatalf("claims after joining (-want +got):\n%s", diff)
		}
	}
	for _, s := range []*speaker{a, b, c} {
		s.eventually(t, "all three see each other", func() bool {
			return slices.Equal(s.names(), []string{"node1", "node2", "node3"})
		})
	}

	// A thousand claims in one moment, which take several datagrams, reach everybody.
	want := election.Claims{before.Addr: before}
	var many []election.Claim
	for i := range 1000 {
		cl := election.Claim{Addr: netip.MustParseAddr(fmt.Sprintf("fd00::%x", i)), Node: "node2", Seq: uint64(i)}
		many = append(many, cl)
		want.Merge(cl)
	}
	b.Claim(many)
	for _, s := range []*speaker{a, b, c} {
		s.eventually(t, "all claims", func() bool { return cmp.Equal(want, s.Claims(), cmpAddr) })
	}
}

func TestMetaLeaveAndCrash(t *testing.T) {
	k := key(t, "secret")
	a, b, c := start(t, "node1", k), start(t, "node2", k), start(t, "node3", k)
	for _, s := range []*speaker{b, c} {
		if _, err := s.Join([]netip.AddrPort{a.Addr()}); err != nil {
			t.Fatal(err)
		}
	}
	a.eventually(t, "three members", func() bool { return len(a.Peers()) == 3 })

	if err := b.SetMeta(true, true, time.Second); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 drains", func() bool {
		return slices.ContainsFunc(a.Peers(), func(p Peer) bool {
			return p.Name == "node2" && p.Meta == Meta{Version: 1, Announcing: true, Draining: true}
		})
	})
	if err := b.Leave(time.Second); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 left", func() bool { return slices.Equal(a.names(), []string{"node1", "node3"}) })
	if a.Alone() {
		t.Error("alone, with node3 in sight and node2 having taken its leave")
	}

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node3's crash is seen", func() bool { return slices.Equal(a.names(), []string{"node1"}) })
	if !a.Alone() {
		t.Error("not alone, though node3 vanished and nobody is left")
	}
}

func TestWrongKeyStaysOut(t *testing.T) {
	a, b := start(t, "node1", key(t, "one")), start(t, "node2", key(t, "two"))
	if n, err := b.Join([]netip.AddrPort{a.Addr()}); n != 0 || err == nil {
		t.Errorf("Join with another key = %d, %v; want an error", n, err)
	}
	if got := a.names(); !slices.Equal(got, []string{"node1"}) {
		t.Errorf("members %v, want only node1", got)
	}
}

func TestDatagramsFit(t *testing.T) {
	var claims []election.Claim
	for i := range 5000 {
		claims = append(claims, election.Claim{
			Addr: netip.MustParseAddr(fmt.Sprintf("fd00::%x", i)), Node: "a-node-with-a-long-name.example.org", Seq: 1 << 63,
		})
	}
	var got []election.Claim
	for _, msg := range encodeDatagrams(claims) {
		if len(msg) > maxMessage+64 {
			t.Errorf("message of %d bytes", len(msg))
		}
		part, err := decode(msg)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, part...)
	}
	if diff := cmp.Diff(claims, got, cmpAddr); diff != "" {
		t.Errorf("claims after encoding and decoding (-want +got):\n%s", diff)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{claimsVersion})
	f.Add([]byte{claimsVersion + 1, 0})
	f.Add([]byte{claimsVersion, 1, 'a', 255, 255, 255, 255, 15, 4, 10, 0, 0, 1}) // a count that the message does not hold
	f.Add([]byte{claimsVersion, 1, 'a', 1, 5, 1, 2, 3, 4, 5, 0})                 // an address of five bytes
	f.Add(encode([]election.Claim{
		{Addr: netip.MustParseAddr("192.168.1.160"), Node: "node1", Seq: 1},
		{Addr: netip.MustParseAddr("fd00::1"), Node: "node1", Seq: 300},
		{Addr: netip.MustParseAddr("fd00::2"), Node: "node2", Seq: 2},
	}))
	f.Fuzz(func(t *testing.T, msg []byte) {
		claims, err := decode(msg)
		if err != nil {
			return
		}
		again, err := decode(encode(claims))
		if err != nil {
			t.Fatalf("own encoding of %+v: %v", claims, err)
		}
		if diff := cmp.Diff(claims, again, cmpAddr, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("decode, encode, decode (-first +second):\n%s", diff)
		}
	})
}

// TestStaleClaimIsContested joins a member that still claims what the other holds by a later claim, as after a partition:
// the stale one learns, and the holder is told that somebody may need to hear of it again.
func TestStaleClaimIsContested(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	x := netip.MustParseAddr("192.168.1.160")
	stale, current := election.Claim{Addr: x, Node: "node1", Seq: 1}, election.Claim{Addr: x, Node: "node2", Seq: 2}
	a.Claim([]election.Claim{stale})
	b.Claim([]election.Claim{current})
	if _, err := a.Join([]netip.AddrPort{b.Addr()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(election.Claims{x: current}, a.Claims(), cmpAddr); diff != "" {
		t.Errorf("claims of the stale member after joining (-want +got):\n%s", diff)
	}
	b.eventually(t, "the stale claim is noticed", func() bool { return slices.Equal(b.Contested(), []netip.Addr{x}) })
	if again := b.Contested(); len(again) != 0 {
		t.Errorf("contested a second time: %v", again)
	}
}

// TestLeaveTakingLeavesNobodyAlone is about the last peer: if it took its leave, there is nothing to doubt.
func TestLeaveTakingLeavesNobodyAlone(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	if _, err := b.Join([]netip.AddrPort{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	if err := b.SetMeta(true, true, time.Second); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 drains", func() bool {
		return slices.ContainsFunc(a.Peers(), func(p Peer) bool { return p.Name == "node2" && p.Meta.Draining })
	})
	if err := b.Leave(time.Second); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 left", func() bool { return slices.Equal(a.names(), []string{"node1"}) })
	if a.Alone() {
		t.Error("alone, though node2 took its leave")
	}
}
