package netif

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// Neighbour is a host on the link of an interface, as the kernel knows it.
type Neighbour struct {
	Addr netip.Addr
	MAC  MAC
}

// Neighbours returns the hosts on the link of the interface of an index that this node's kernel has talked to, those first that it
// has heard of last.
func Neighbours(index int) ([]Neighbour, error) {
	const known = netlink.NUD_REACHABLE | netlink.NUD_STALE | netlink.NUD_DELAY | netlink.NUD_PROBE | netlink.NUD_PERMANENT
	var table []netlink.Neigh
	err := retryDump(func() (err error) {
		table, err = netlink.NeighList(index, netlink.FAMILY_ALL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	slices.SortStableFunc(table, func(a, b netlink.Neigh) int {
		return cmp.Compare(a.State&^netlink.NUD_REACHABLE, b.State&^netlink.NUD_REACHABLE)
	})
	var out []Neighbour
	for _, n := range table {
		addr, ok := netip.AddrFromSlice(n.IP)
		if mac := n.HardwareAddr; ok && n.State&known != 0 && len(mac) == len(MAC{}) {
			out = append(out, Neighbour{addr.Unmap(), MAC(mac)})
		}
	}
	return out, nil
}
