//go:build e2e

package upgrade

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// TestVersions goes from an earlier Invar to this one and back. On the way up it stops with speakers of both, and loses a node of
// each kind there.
func TestVersions(t *testing.T) {
	install(t, formerInvar(t))
	addrs := services(t)
	before := workloads(t)
	nodes := lab.Nodes()

	w := observe(t, addrs)
	apply(t, thisInvar(t).onDelete(t))
	replaceSpeaker(t, nodes[0].Name)
	wantKept(t, addrs)
	all, noise := w.end(t, "the first of the speakers is this Invar's")
	wantShort(t, all, noise)
	wantOne(t, all)
	for _, lost := range nodes[:2] {
		loseNode(t, addrs["local"], lost.Name)
	}
	wantKept(t, addrs)

	w = observe(t, addrs)
	apply(t, thisInvar(t))
	ready(t)
	wantKept(t, addrs)
	all, noise = w.end(t, "the others follow")
	wantShort(t, all, noise)
	wantOne(t, all)
	wantOnly(t, thisInvar(t))
	wantReplaced(t, before, thisInvar(t))
	wantConditions(t, addrs)

	w = observe(t, addrs)
	apply(t, formerInvar(t))
	ready(t)
	wantKept(t, addrs)
	all, noise = w.end(t, "back to the former Invar")
	wantShort(t, all, noise)
	wantOne(t, all)
	wantOnly(t, formerInvar(t))
	wantReplaced(t, before, formerInvar(t))
	wantNoConflicts(t, addrs)
}

// loseNode brings an address to a node, cuts the node off, and heals it when another one has taken over.
func loseNode(t *testing.T, addr netip.Addr, node string) {
	t.Helper()
	const annotate = `{"metadata":{"annotations":{"invar.io/announce-from":%s}}}`
	lab.Patch(t, "local", fmt.Sprintf(annotate, `"`+node+`"`))
	clustertest.Eventually(t, node+" announces", func(ctx context.Context) error {
		now, err := lab.Holder(ctx, addr)
		if err == nil && now != node {
			err = fmt.Errorf("%s does", now)
		}
		return err
	})
	lab.Patch(t, "local", fmt.Sprintf(annotate, "null"))
	_, gap, noise := lab.Outage(t, netip.AddrPortFrom(addr, 80), func() {
		if err := lab.Lab(t.Context(), "cut", node); err != nil {
			t.Fatal(err)
		}
	})
	if gap > failoverBound+noise {
		t.Errorf("with speakers of both, %s lost: new connections failed for %s, want at most %s", node, gap, failoverBound)
	}
	next := lab.WantHolder(t, addr.String())
	lab.Heal(t, node)
	if now := lab.WantHolder(t, addr.String()); now != next {
		t.Errorf("%s moved from %s to %s when %s came back", addr, next, now, node)
	}
}
