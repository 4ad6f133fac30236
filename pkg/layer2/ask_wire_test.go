package layer2

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"

	"github.com/invar-lb/invar/pkg/netif"
	"github.com/invar-lb/invar/test/netns"
)

// TestRealBystanders talks to a host on the LAN, whose kernel is asked for a sign of life from then on, at each of its addresses.
func TestRealBystanders(t *testing.T) {
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	add := func(prefixes ...string) error {
		for _, p := range prefixes {
			if err := netns.AddAddr("lan0", p); err != nil {
				return err
			}
		}
		return nil
	}
	var mac netif.MAC
	peer.Do(func() error {
		mac = netif.MAC(netns.MAC(t, "lan0"))
		return add("192.168.1.99/24", "fe80::99/64")
	})
	if err := add("192.168.1.10/24", "fe80::10/64"); err != nil {
		t.Fatal(err)
	}
	a := runReal(t, Config{})
	hosts := []netip.Addr{netip.MustParseAddr("192.168.1.99"), netip.MustParseAddr("fe80::99%lan0")}
	for _, h := range hosts {
		to := h
		if to.Zone() != "" { // by number: package net remembers the numbers of names for longer than a test
			to = to.WithZone(strconv.Itoa(netns.Index(t, "lan0")))
		}
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	waitFor(t, "the kernel knows the host", func() bool {
		known := a.Bystanders()
		return slices.Contains(known, hosts[0]) && slices.Contains(known, hosts[1])
	})
	for _, h := range hosts {
		waitFor(t, h.String()+" answers", func() (heard bool) {
			if err := a.Ask(h); err != nil {
				t.Fatal(err)
			}
			a.Collect(func(from netip.Addr) { heard = heard || from == h.WithZone("") })
			return heard
		})
	}
	a.SetPeers(map[MAC]string{mac: "node2"})
	if known := a.Bystanders(); len(known) > 0 {
		t.Errorf("a peer counts as another host: %v", known)
	}
}
