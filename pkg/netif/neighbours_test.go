package netif

import (
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"

	"github.com/invar-lb/invar/test/netns"
)

// TestKernelNeighbours: only hosts count whose MAC the kernel knows.
func TestKernelNeighbours(t *testing.T) {
	netns.Require(t)
	netns.Veth(t, netns.NewPeer(t), "lan0")
	index := netns.Index(t, "lan0")
	for _, n := range []netlink.Neigh{
		{IP: net.ParseIP("10.0.0.2"), State: netlink.NUD_STALE, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}},
		{IP: net.ParseIP("10.0.0.3"), State: netlink.NUD_FAILED},
		{IP: net.ParseIP("2001:db8::4"), State: netlink.NUD_REACHABLE, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 4}},
		{IP: net.ParseIP("10.0.0.5"), State: netlink.NUD_NOARP, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 5}},
	} {
		n.LinkIndex = index
		if err := netlink.NeighSet(&n); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Neighbours(index)
	if err != nil {
		t.Fatal(err)
	}
	want := []Neighbour{
		{netip.MustParseAddr("2001:db8::4"), MAC{2, 0, 0, 0, 0, 4}},
		{netip.MustParseAddr("10.0.0.2"), MAC{2, 0, 0, 0, 0, 2}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("neighbours (-want +got):\n%s", diff)
	}
}
