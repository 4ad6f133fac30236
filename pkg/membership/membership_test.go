package membership

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/memberlist"

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
	return startAt(t, "127.0.0.1", node, key)
}

func startAt(t *testing.T, addr, node string, key []byte) *speaker {
	t.Helper()
	s := &speaker{changed: make(chan struct{}, 1)}
	m, err := Start(Config{
		Node: node, BindAddr: netip.MustParseAddr(addr), Key: key,
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

// eventually waits for want, which must hold within ten seconds, looking again after each change and from time to time.
func (s *speaker) eventually(t *testing.T, what string, want func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !want() {
		select {
		case <-s.changed:
		case <-time.After(20 * time.Millisecond):
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
	if got := fmt.Sprintf("%x", key(t, "secret")); got != keyOfSecret {
		t.Errorf("the key of %q is %s, want %s, as other versions have it", "secret", got, keyOfSecret)
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

	if err := b.SetMeta(Meta{Announcing: true, Draining: true}); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 drains", func() bool {
		return slices.ContainsFunc(a.Peers(), func(p Peer) bool {
			return p.Name == "node2" && p.Meta == Meta{Announcing: true, Draining: true}
		})
	})
	if err := b.Leave(2 * time.Second); err != nil {
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

// TestPlainTextStaysOut offers the gossip a member that encrypts nothing, and asks for a member without a key.
func TestPlainTextStaysOut(t *testing.T) {
	a := start(t, "a", bytes.Repeat([]byte{1}, 32))
	plain := memberlist.DefaultLANConfig()
	plain.Name, plain.Label, plain.BindAddr, plain.BindPort, plain.AdvertisePort = "plain", "invar", "127.0.0.1", 0, 0
	plain.LogOutput = io.Discard
	list, err := memberlist.Create(plain)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = list.Shutdown() }()
	if n, err := list.Join([]string{a.list.LocalNode().Address()}); err == nil || n > 0 {
		t.Errorf("a member that encrypts nothing joined %d others, error %v", n, err)
	}
	b := start(t, "b", bytes.Repeat([]byte{1}, 32))
	if _, err := b.Join([]netip.AddrPort{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "b", func() bool { return slices.Contains(a.names(), "b") })
	// Datagrams keep their order here: when what b says has arrived, so has what was said before.
	forged := election.Claim{Addr: netip.MustParseAddr("192.168.1.160"), Node: "plain", Seq: 1}
	genuine := election.Claim{Addr: netip.MustParseAddr("192.168.1.161"), Node: "b", Seq: 1}
	if err := list.SendBestEffort(a.list.LocalNode(), encodeDatagrams([]election.Claim{forged})[0]); err != nil {
		t.Fatal(err)
	}
	b.Claim([]election.Claim{genuine})
	a.eventually(t, "b's claim", func() bool { return a.Holder(genuine.Addr) == "b" })
	if diff := cmp.Diff(election.Claims{genuine.Addr: genuine}, a.Claims(), cmpAddr); diff != "" {
		t.Errorf("claims, one of them in plain text (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "b"}, a.names()); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	without := Config{Node: "c", BindAddr: a.Addr().Addr(), Logger: slog.New(slog.DiscardHandler), OnChange: func() {}}
	if m, err := Start(without); err == nil {
		_ = m.Close()
		t.Error("a member without a key has started")
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
		got = append(got, part.claims...)
	}
	if diff := cmp.Diff(claims, got, cmpAddr); diff != "" {
		t.Errorf("claims after encoding and decoding (-want +got):\n%s", diff)
	}
}

// TestDigest: two members that don't know the same tell each other all when they exchange digests, whichever of them is the one to begin;
// those that do exchange nothing more.
func TestDigest(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	if _, err := a.Join([]netip.AddrPort{b.Addr()}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*speaker{a, b} {
		s.eventually(t, "both see each other", func() bool { return len(s.Peers()) == 2 })
	}
	idle := func() {
		for _, s := range []*speaker{a, b} {
			s.eventually(t, "no exchange runs", func() bool { return !s.comparing.Load() })
		}
	}
	swap := func() {
		idle()
		fromA, fromB := delegate{a.Members}.LocalState(false), delegate{b.Members}.LocalState(false)
		delegate{a.Members}.MergeRemoteState(fromB, false)
		delegate{b.Members}.MergeRemoteState(fromA, false)
	}
	for i, s := range []*speaker{a, b} {
		lost := election.Claim{Addr: netip.MustParseAddr("192.168.1.160"), Node: "node3", Seq: uint64(i + 1)}
		s.merge([]election.Claim{lost}) // and nobody is told
		swap()
		for _, s := range []*speaker{a, b} {
			s.eventually(t, "both know the claim", func() bool { return s.Claims()[lost.Addr] == lost })
		}
	}
	lost := report{Node: "node3", Seq: 1}
	a.mu.Lock()
	a.reports.merge([]report{lost})
	a.mu.Unlock()
	swap()
	b.eventually(t, "both know the report", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return cmp.Equal(lost, b.reports.of["node3"])
	})
	swap()
	if a.comparing.Load() || b.comparing.Load() {
		t.Error("members that know the same begin an exchange")
	}
}

func FuzzDecode(f *testing.F) {
	claims := []election.Claim{
		{Addr: netip.MustParseAddr("192.168.1.160"), Node: "node1", Seq: 1},
		{Addr: netip.MustParseAddr("fd00::1"), Node: "node1", Seq: 300},
		{Addr: netip.MustParseAddr("fd00::2"), Node: "node2", Seq: 2},
	}
	rep := report{Node: "node1", Seq: 7, Observations: Observations{
		Silent:    []string{"node2"},
		Conflicts: []Conflict{{Addr: netip.MustParseAddr("192.168.1.160"), MAC: "02:00:00:00:00:01", Interface: "eth0"}},
	}}
	f.Add([]byte{})
	f.Add([]byte{messageClaims})
	f.Add([]byte{messageState + 1, 0})
	f.Add([]byte{messageClaims, 1, 'a', 255, 255, 255, 255, 15, 4, 10, 0, 0, 1}) // a count that the message does not hold
	f.Add([]byte{messageClaims, 1, 'a', 1, 5, 1, 2, 3, 4, 5, 0})                 // an address of five bytes
	f.Add([]byte{messageState, 255, 255, 255, 255, 15, messageClaims})           // a length that the message does not have
	f.Add(encodeClaims(claims))
	f.Add(encodeReport(rep))
	f.Add(encodeState(claims, []report{rep}))
	f.Add(encodeDigest(digest{"node1", 1 << 63}))
	f.Add([]byte{messageDigest, 1, 2, 3})
	f.Fuzz(func(t *testing.T, msg []byte) {
		first, err := decode(msg)
		if err != nil {
			return
		}
		again := encodeState(first.claims, first.reports)
		if first.digest != (digest{}) {
			again = encodeDigest(first.digest)
		}
		second, err := decode(again)
		if err != nil {
			t.Fatalf("own encoding of %+v: %v", first, err)
		}
		opts := []cmp.Option{cmpAddr, cmpopts.EquateEmpty(), cmp.AllowUnexported(message{}, digest{})}
		if diff := cmp.Diff(first, second, opts...); diff != "" {
			t.Errorf("decode, encode, decode (-first +second):\n%s", diff)
		}
	})
}

func TestMeta(t *testing.T) {
	for _, want := range []Meta{
		{},
		{Announcing: true},
		{Draining: true, Carry: "eth0"},
		{Observer: true},
		{Announcing: true, Draining: true, Carry: strings.Repeat("x", MaxCarry)},
	} {
		b := encodeMeta(want)
		if len(b) > memberlist.MetaMaxSize {
			t.Errorf("%d bytes, want at most %d", len(b), memberlist.MetaMaxSize)
		}
		got, err := decodeMeta(b)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("after encoding and decoding: %v, (-want +got):\n%s", err, diff)
		}
	}
	for _, b := range []string{"", "\x02", "\x01\x01", "\x20\x01", `{"v":1,"announcing":true}`} {
		if got, err := decodeMeta([]byte(b)); err == nil {
			t.Errorf("%q is understood as %+v", b, got)
		}
	}
	m := &Members{}
	if err := m.SetMeta(Meta{Carry: strings.Repeat("x", MaxCarry+1)}); err == nil {
		t.Error("a Meta that doesn't fit is accepted")
	}
}

// TestReportFits makes the largest report: the gossip must be able to send it.
func TestReportFits(t *testing.T) {
	meta := Meta{Carry: strings.Repeat("x", MaxCarry)}
	r := report{Node: strings.Repeat("n", 63), Seq: 1 << 63, Meta: encodeMeta(meta)}
	for i := range 3 { // a node watches no more than that
		r.Silent = append(r.Silent, fmt.Sprintf("%062d%d", 0, i))
	}
	for i := range MaxConflicts {
		r.Conflicts = append(r.Conflicts, Conflict{
			Addr: netip.MustParseAddr(fmt.Sprintf("2001:db8:1111:2222:3333:4444:5555:666%d", i)), MAC: "02:00:5e:00:53:01",
			Interface: "enp0s31f6.12345",
		})
	}
	if n := len(encodeReport(r)); n > maxMessage {
		t.Errorf("%d bytes", n)
	}
}

// TestReports follows what members observe: it reaches all, the newest counts, and it goes with the member.
func TestReports(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	before := Observations{Silent: []string{"node3"}}
	a.Report(before)
	if _, err := b.Join([]netip.AddrPort{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, b.Reports()["node1"], cmpAddr); diff != "" {
		t.Errorf("after joining (-want +got):\n%s", diff)
	}
	after := Observations{Conflicts: []Conflict{
		{Addr: netip.MustParseAddr("192.168.1.160"), MAC: "02:00:00:00:00:01", Interface: "eth0"},
	}}
	a.eventually(t, "node1 sees node2", func() bool { return len(a.Peers()) == 2 })
	a.Report(after)
	b.eventually(t, "the newer report", func() bool { return cmp.Equal(after, b.Reports()["node1"], cmpAddr) })
	if err := a.Leave(2 * time.Second); err != nil {
		t.Fatal(err)
	}
	b.eventually(t, "no report of who is gone", func() bool { _, ok := b.Reports()["node1"]; return !ok })
}

func TestReportsMerge(t *testing.T) {
	rs := newReports("node1", 10, Meta{})
	own := report{Node: "node1", Seq: 10, Meta: encodeMeta(Meta{})}
	old := report{Node: "node2", Seq: 5, Observations: Observations{Silent: []string{"node3"}}}
	newer := report{Node: "node2", Seq: 6}
	past := report{Node: "node1", Seq: 9, Observations: Observations{Silent: []string{"node2"}}} // before a restart
	got := rs.merge([]report{old, newer, old, past})
	if diff := cmp.Diff([]report{old, newer}, got); diff != "" {
		t.Errorf("news (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]report{own, newer}, rs.all()); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if _, news := rs.observe(Observations{}); news {
		t.Error("what is not new counts as news")
	}
	rs.forget("node1")
	rs.forget("node2")
	if diff := cmp.Diff([]report{own}, rs.all()); diff != "" {
		t.Errorf("after node2 has left (-want +got):\n%s", diff)
	}
}

// TestObserversAreNoCompany is about a speaker whose last peer vanishes while a controller listens.
func TestObserversAreNoCompany(t *testing.T) {
	k := key(t, "secret")
	a, b, o := start(t, "node1", k), start(t, "node2", k), start(t, "controller", k)
	if err := o.SetMeta(Meta{Observer: true}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*speaker{b, o} {
		if _, err := s.Join([]netip.AddrPort{a.Addr()}); err != nil {
			t.Fatal(err)
		}
	}
	a.eventually(t, "all three", func() bool { return len(a.Peers()) == 3 })
	if a.Alone() {
		t.Error("alone with a peer in sight")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 is lost", func() bool { return len(a.Peers()) == 2 })
	if !a.Alone() {
		t.Error("not alone with only a controller in sight")
	}
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

// TestRenounce: the holder of what a peer has answered for is told, and holds it as before.
func TestRenounce(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	x := netip.MustParseAddr("192.168.1.160")
	b.Claim([]election.Claim{{Addr: x, Node: "node2", Seq: 1}})
	if _, err := a.Join([]netip.AddrPort{b.Addr()}); err != nil {
		t.Fatal(err)
	}
	a.Renounce([]netip.Addr{x})
	b.eventually(t, "the holder is told", func() bool { return slices.Equal(b.Contested(), []netip.Addr{x}) })
	for _, s := range []*speaker{a, b} {
		if holder := s.Holder(x); holder != "node2" {
			t.Errorf("held by %q", holder)
		}
	}
}

// TestOnClaims: who holds what is none of a member's is told apart from what may make it act at once.
func TestOnClaims(t *testing.T) {
	const x, y = "192.168.1.160", "192.168.1.161"
	claim := func(addr, node string, seq uint64) election.Claim {
		return election.Claim{Addr: netip.MustParseAddr(addr), Node: node, Seq: seq}
	}
	for _, tt := range []struct {
		name string
		msg  []byte
		want string // calls
	}{
		{"a peer takes what nobody holds", encodeClaims([]election.Claim{claim(y, "node2", 1)}), "claims"},
		{"a peer takes what this node holds", encodeClaims([]election.Claim{claim(x, "node2", 3)}), "change"},
		{"a peer claims that in vain", encodeClaims([]election.Claim{claim(x, "node2", 1)}), "change"},
		{"both at once", encodeClaims([]election.Claim{claim(x, "node2", 3), claim(y, "node2", 1)}), "change"},
		{"what is known", encodeClaims([]election.Claim{claim(x, "node1", 2)}), ""},
		{"a peer's report", encodeReport(report{Node: "node2", Seq: 1}), "change"},
	} {
		var calls string
		m, err := Start(Config{
			Node: "node1", BindAddr: netip.MustParseAddr("127.0.0.1"), Key: key(t, "secret"), Logger: slog.New(slog.DiscardHandler),
			Claims:   []election.Claim{claim(x, "node1", 2)},
			OnChange: func() { calls += "change" }, OnClaims: func() { calls += "claims" },
		})
		if err != nil {
			t.Fatal(err)
		}
		calls = "" // this node itself has joined
		m.receive(tt.msg)
		if calls != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, calls, tt.want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLeaveTakingLeavesNobodyAlone is about the last peer: if it took its leave, there is nothing to doubt.
func TestLeaveTakingLeavesNobodyAlone(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	if _, err := b.Join([]netip.AddrPort{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	if err := b.SetMeta(Meta{Announcing: true, Draining: true}); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 drains", func() bool {
		return slices.ContainsFunc(a.Peers(), func(p Peer) bool { return p.Name == "node2" && p.Meta.Draining })
	})
	if err := b.Leave(2 * time.Second); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2 left", func() bool { return slices.Equal(a.names(), []string{"node1"}) })
	if a.Alone() {
		t.Error("alone, though node2 took its leave")
	}
}

// TestDeniedDeath lets memberlist take a live member for dead: it denies that, and is missed by nobody.
func TestDeniedDeath(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	if _, err := b.Join([]netip.AddrPort{a.Addr()}); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "both", func() bool { return len(a.Peers()) == 2 })
	a.mu.Lock()
	n := a.members["node2"]
	a.mu.Unlock()
	events{a.Members}.NotifyLeave(n)
	if diff := cmp.Diff([]string{"node1", "node2"}, a.names()); diff != "" {
		t.Errorf("at once (-want +got):\n%s", diff)
	}
	events{a.Members}.NotifyJoin(n) // as memberlist calls it when the member has denied it
	deadline := time.After(3 * denyWait)
	for {
		select {
		case <-a.changed:
			if diff := cmp.Diff([]string{"node1", "node2"}, a.names()); diff != "" {
				t.Fatalf("after it has denied it (-want +got):\n%s", diff)
			}
			continue
		case <-deadline:
		}
		break
	}
}
