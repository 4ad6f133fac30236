//go:build e2e

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// minorityBound is for how long new connections may fail at most in a part of the LAN that has no more than half of the nodes.
const minorityBound = 3 * time.Second

// TestMinority splits the LAN so that the holder and another node are on the other side of it, for a host that knows the holder's MAC:
// for that host two of three nodes vanish at once. The third one serves its side. When the LAN is whole again the holder does, which
// has held the address all the time.
func TestMinority(t *testing.T) {
	addr, holder := lab.AnnouncedService(t, "minority")
	apart, third := []string{"partition", holder}, ""
	for _, h := range lab.Nodes() {
		switch {
		case h.Name == holder:
		case third == "":
			third = h.Name
		default:
			apart = append(apart, h.Name)
		}
	}
	unite := func() {
		if err := lab.Lab(context.WithoutCancel(t.Context()), "unite"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(unite)
	_, gap, _ := lab.Outage(t, addr, func() {
		if err := lab.Lab(t.Context(), apart...); err != nil {
			t.Fatal(err)
		}
	})
	if gap == 0 || gap > minorityBound {
		t.Errorf("new connections failed for %s, want more than nothing and at most %s", gap, minorityBound)
	}
	if now := lab.WantHolder(t, addr.Addr().String()); now != third {
		t.Errorf("%s is answered by %s, want %s", addr.Addr(), now, third)
	}
	_, gap, _ = lab.Outage(t, addr, unite)
	if gap > clustertest.FailoverBound {
		t.Errorf("new connections failed for %s when the LAN was whole again, want at most %s", gap, clustertest.FailoverBound)
	}
	host, err := lab.Host(holder)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody asks for the address before this: the answer would tell the client.
	known, err := lab.Run(t.Context(), cluster.Client, "ip", "neigh", "show", "to", addr.Addr().String())
	if err != nil || !strings.Contains(known, host.MAC) {
		t.Errorf("the client knows %q, %v; want %s, of %s: nobody has told it", known, err, host.MAC, holder)
	}
	if now := lab.WantHolder(t, addr.Addr().String()); now != holder {
		t.Errorf("%s moved to %s, want it to stay at %s", addr.Addr(), now, holder)
	}
}
