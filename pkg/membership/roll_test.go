package membership

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCallRoll is about a speaker whose peers vanish one after the other, and who asks before a heartbeat can have missed them.
func TestCallRoll(t *testing.T) {
	k := key(t, "secret")
	a, o := startAt(t, "127.0.0.1", "node1", k), startAt(t, "127.0.0.4", "controller", k)
	peers := []*speaker{startAt(t, "127.0.0.2", "node2", k), startAt(t, "127.0.0.3", "node3", k)}
	roll := func(when string, wantNews, wantAlone bool, wantPeers ...string) {
		t.Helper()
		if news := a.CallRoll(); news != wantNews || a.Alone() != wantAlone {
			t.Errorf("%s: news = %v, alone = %v; want %v, %v", when, news, a.Alone(), wantNews, wantAlone)
		}
		if diff := cmp.Diff(wantPeers, a.names()); diff != "" {
			t.Errorf("%s: peers (-want +got):\n%s", when, diff)
		}
	}
	roll("no peers", false, false, "node1")
	if err := o.SetMeta(Meta{Observer: true}); err != nil {
		t.Fatal(err)
	}
	join := func(s *speaker, n int) {
		t.Helper()
		if _, err := s.Join([]netip.AddrPort{a.Addr()}); err != nil {
			t.Fatal(err)
		}
		a.eventually(t, "it is there", func() bool { return len(a.Peers()) == n })
	}
	join(o, 2)
	roll("a controller only", false, false, "controller", "node1")
	join(peers[0], 3)
	join(peers[1], 4)
	roll("two peers", false, false, "controller", "node1", "node2", "node3")
	if err := peers[0].Close(); err != nil {
		t.Fatal(err)
	}
	roll("one has vanished", true, false, "controller", "node1", "node2", "node3") // left to the heartbeats
	if diff := cmp.Diff([]string{"node2"}, a.Absent()); diff != "" {
		t.Errorf("absent (-want +got):\n%s", diff)
	}
	if err := peers[1].Close(); err != nil {
		t.Fatal(err)
	}
	roll("both have vanished", true, true, "controller", "node1")

	say := func(from string) {
		t.Helper()
		conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from+":0")), net.UDPAddrFromAddrPort(a.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	say("127.0.0.5")
	say("127.0.0.3")
	a.eventually(t, "a peer is heard of", func() bool { return !a.Alone() })
}

func TestRoll(t *testing.T) {
	addr := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }
	for _, tc := range []struct {
		name   string
		peers  []byte
		heard  []byte // while the roll is called
		news   bool
		later  []byte // heard after it
		absent []byte // in the end
		gone   bool   // they are no members
		backed int    // how many were gone and are back
	}{
		{name: "nobody to ask"},
		{name: "all answer", peers: []byte{2, 3}, heard: []byte{2, 3}},
		{name: "one of two peers does", peers: []byte{2, 3}, heard: []byte{3}, news: true, absent: []byte{2}},
		{name: "the other one later", peers: []byte{2, 3}, heard: []byte{3}, news: true, later: []byte{2}},
		{name: "one of three peers does", peers: []byte{2, 3, 4}, heard: []byte{3}, news: true, absent: []byte{2, 4}, gone: true},
		{name: "the only peer doesn't", peers: []byte{2}, news: true, absent: []byte{2}, gone: true},
		{name: "other hosts do", peers: []byte{2, 3}, heard: []byte{9}, news: true, later: []byte{9}, absent: []byte{2, 3}, gone: true},
		{name: "one is heard of later", peers: []byte{2, 3, 4}, heard: []byte{3}, news: true, later: []byte{3, 4, 2}, backed: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var back []netip.Addr
			r := roll{onBack: func(peers map[netip.Addr]bool) { back = slices.AppendSeq(back, maps.Keys(peers)) }}
			var peers []Peer
			for _, n := range tc.peers {
				r.sign(addr(n)) // before means nothing
				peers = append(peers, Peer{Addr: addr(n)})
			}
			r.begin(peers)
			for _, n := range tc.heard {
				r.sign(netip.AddrFrom16(addr(n).As16())) // as a socket for both families has it
				if !r.hasAnswered(addr(n)) {
					t.Errorf("%d has not answered", n)
				}
			}
			for _, n := range tc.peers {
				if r.isAbsent(addr(n)) || r.isGone(addr(n)) {
					t.Errorf("%d is absent before the end", n)
				}
			}
			if news := r.end(); news != tc.news {
				t.Errorf("news = %v, want %v", news, tc.news)
			}
			for _, n := range tc.later {
				r.sign(addr(n))
			}
			for n := range byte(10) {
				want := slices.Contains(tc.absent, n)
				if absent, gone := r.isAbsent(addr(n)), r.isGone(addr(n)); absent != want || gone != (want && tc.gone) {
					t.Errorf("%d is absent: %v, want %v; gone: %v, want %v", n, absent, want, gone, tc.gone)
				}
			}
			if len(back) != tc.backed {
				t.Errorf("back are %v, want %d", back, tc.backed)
			}
			if open := len(tc.absent) > 0; r.open.Load() != open {
				t.Errorf("listens: %v, want %v", !open, open)
			}
		})
	}
}

// TestRollTwice: those that are gone count in the next roll call, though they are not asked.
func TestRollTwice(t *testing.T) {
	addr := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, n}) }
	var r roll
	call := func(peers ...byte) bool {
		var asked []Peer
		for _, n := range peers {
			asked = append(asked, Peer{Addr: addr(n)})
		}
		r.begin(asked)
		r.sign(addr(2))
		return r.end()
	}
	if !call(2, 3, 4) || !r.isGone(addr(4)) {
		t.Error("3 and 4 of four are not gone")
	}
	if call(2) || !r.isGone(addr(4)) {
		t.Error("4 is back since the one left has answered, or it is news that it is not")
	}
	if !call(2, 5) || !r.isGone(addr(3)) || !r.isGone(addr(5)) { // two of five are left
		t.Error("5, which has come since, is not gone, or 3 is back")
	}
	r.forget(addr(3))
	r.forget(addr(4))
	r.forget(addr(5))
	if r.open.Load() {
		t.Error("it listens though nobody is gone")
	}
}
