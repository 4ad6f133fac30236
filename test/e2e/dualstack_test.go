//go:build e2e

package e2e

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// TestDualStackNodeCut has both addresses of a Service on one node, by ARP and by NDP, and loses that node.
func TestDualStackNodeCut(t *testing.T) {
	node := lab.Nodes()[0].Name
	addrs := lab.DualService(t, "both", node)
	for i, client := range []string{"192.168.1.100:", "[fd00:1::100]:"} {
		if body := lab.WantHTTP(t, addrs[i].Addr().String()); !strings.Contains(body, "client "+client) {
			t.Errorf("%s answers %q, want client %s", addrs[i], body, client)
		}
	}

	lab.FailOver(t, cluster.Client, node, addrs...)

	// The node that is wished for gets both back, and nobody notices.
	lab.WantNoFailures(t, node+" comes back", cluster.Client, addrs, func() {
		lab.Heal(t, node)
		lab.WantHeldBy(t, node, addrs...)
	})
}

// TestIPv6Only has Services of one family on a pool of two.
func TestIPv6Only(t *testing.T) {
	lab.Configure(t, dual)
	lab.Create(t, "six", clustertest.Local, clustertest.Families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol))
	lab.WantAddresses(t, "six", "fd00:1::160")
	lab.WantSilent(t, netip.MustParseAddr("192.168.1.160"))
	node := lab.WantHolder(t, "fd00:1::160")
	if body := lab.WantHTTP(t, "fd00:1::160"); !strings.Contains(body, "client [fd00:1::100]:") || !strings.Contains(body, "node "+node+" ") {
		t.Errorf("fd00:1::160 answers %q, want a pod of %s that sees client fd00:1::100", body, node)
	}
	lab.FailOver(t, cluster.Client, node, netip.MustParseAddrPort("[fd00:1::160]:80"))
}
