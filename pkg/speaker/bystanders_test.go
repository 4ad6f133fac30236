package speaker

import (
	"net/netip"
	"testing"
	"time"

	"github.com/invar-lb/invar/pkg/membership"
)

// TestBystanders is about a node whose peer is gone, and which listens to other hosts.
func TestBystanders(t *testing.T) {
	peer, router, new := addr("192.168.1.12"), addr("192.168.1.1"), addr("fe80::1%eth0")
	l := &lan{watch: newWatch(), now: time.Unix(1000, 0), mute: map[netip.Addr]bool{peer: true, router: true}}
	l.set([]membership.Peer{{Name: "node2", Addr: peer}}, nil)
	hosts := []netip.Addr{router}
	want := func(when string, heard bool) {
		t.Helper()
		l.attendBystanders(true, l.now, func() []netip.Addr { return hosts })
		l.pass(time.Second)
		if got := l.hearsBystanders(l.now); got != heard {
			t.Errorf("%s: heard: %v", when, got)
		}
	}
	want("mute", false)
	hosts = []netip.Addr{router, new}
	want("another one is known, but the list is not due", false)
	want("listed anew", true)
	l.mute[new] = true
	want("mute again", true)
	l.pass(bystandersWait)
	want("mute for long", false)
	clear(l.mute)
	want("all answer", true)
	l.attendBystanders(false, l.now, nil)
	if l.hearsBystanders(l.now) {
		t.Error("heard though nobody listens")
	}
	if deaf, _ := l.hears(); deaf {
		t.Error("the peer was not watched meanwhile")
	}
}
