//go:build e2e

package e2e

import (
	"net/netip"
	"strings"
	"testing"
)

// TestPodNetworkCarriesNothing announces an address that lies in no subnet, which all interfaces carry that may. Those of the pod
// network, the bridge and flannel's tunnels if the lab has flannel, are none of them.
func TestPodNetworkCarriesNothing(t *testing.T) {
	const addr = "192.168.77.160"
	lab.Configure(t, pools(pool("far", addr+"/32")))
	lab.Create(t, "web", from("node2"))
	lab.WantAddresses(t, "web", addr)
	wantAnnounced(t, "web", addr+" from node node2 on eth0")
	links, err := lab.Run(t.Context(), "node2", "ip", "-oneline", "link", "show", "up")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(links, " cni0: ") {
		t.Errorf("the node has no interface cni0 that could carry the address:\n%s", links)
	}
	answering, err := lab.Answers(t.Context(), "client", netip.MustParseAddr(addr))
	if err != nil || len(answering) != 1 {
		t.Errorf("answered by %v, %v, want one host", answering, err)
	}
}
