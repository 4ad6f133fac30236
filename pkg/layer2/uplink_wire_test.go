package layer2

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/invar-lb/invar/pkg/netif"
	"github.com/invar-lb/invar/test/netns"
)

// These tests are about a server's uplink: two cables to a switch that are bonded, with VLANs and bridges on the bond. They
// capture what is on the cables.

// uplink is what is made of the two cables lan0 and lan1.
type uplink struct {
	name string
	link string // the interface that carries announcements
	vlan uint16 // its VLAN on the cables; 0: none
	make func(t *testing.T)
}

func bond(t *testing.T) { netns.Bond(t, "bond0", "lan0", "lan1") }

// wanderer is a bond that has the MAC of its active member.
func wanderer(t *testing.T) {
	moving := netlink.BOND_FAIL_OVER_MAC_ACTIVE
	netns.BondOf(t, "bond0", func(b *netlink.Bond) { b.FailOverMac = moving }, "lan0", "lan1")
}

func uplinks() []uplink {
	return []uplink{
		{"bond", "bond0", 0, bond},
		{"bond with moving MAC", "bond0", 0, wanderer},
		{"VLAN", "bond0.5", 5, func(t *testing.T) { bond(t); netns.VLAN(t, "bond0", "bond0.5", 5) }},
		{"VLAN with moving MAC", "bond0.5", 5, func(t *testing.T) { wanderer(t); netns.VLAN(t, "bond0", "bond0.5", 5) }},
		{"bridge", "br0", 0, func(t *testing.T) { bond(t); netns.Bridge(t, "br0", "bond0") }},
		{"bridge with moving MAC", "br0", 0, func(t *testing.T) { wanderer(t); netns.Bridge(t, "br0", "bond0") }},
		{"bridge on VLAN", "br5", 5, func(t *testing.T) {
			bond(t)
			netns.VLAN(t, "bond0", "bond0.5", 5)
			netns.Bridge(t, "br5", "bond0.5")
		}},
		{"VLAN on bridge", "br0.5", 5, func(t *testing.T) {
			bond(t)
			netns.Bridge(t, "br0", "bond0")
			netns.VLAN(t, "br0", "br0.5", 5)
		}},
	}
}

// rack lays both cables to a peer that joins them like a switch.
func rack(t *testing.T) *netns.Peer {
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	netns.Veth(t, peer, "lan1")
	peer.Do(func() error { netns.Bridge(t, "sw", "lan0", "lan1"); return nil })
	return peer
}

// tagged returns a frame with a VLAN tag; VLAN 0 stands for none.
func tagged(vlan uint16, frame []byte) []byte {
	if vlan == 0 {
		return frame
	}
	tag := binary.BigEndian.AppendUint16([]byte{0x81, 0}, vlan)
	return slices.Concat(frame[:12], tag, frame[12:])
}

// within matches frames of one VLAN that match without their tag. VLAN 0 stands for frames without a tag.
func within(vlan uint16, match func([]byte) bool) func([]byte) bool {
	return func(b []byte) bool {
		if vlan == 0 {
			return match(b)
		}
		return len(b) > 16 && b[12] == 0x81 && b[13] == 0 && binary.BigEndian.Uint16(b[14:])&0xfff == vlan &&
			match(slices.Concat(b[:12], b[16:]))
	}
}

// from matches frames of one sender that match.
func from(mac []byte, match func([]byte) bool) func([]byte) bool {
	return func(b []byte) bool { return match(b) && bytes.Equal(b[6:12], mac) && bytes.Equal(b[22:28], mac) }
}

// TestRealFailover: the cable of the active member is cut. The switch must learn at once that the addresses are behind the
// other one now, and with which MAC.
func TestRealFailover(t *testing.T) {
	for _, tt := range uplinks() {
		t.Run(tt.name, func(t *testing.T) {
			peer := rack(t)
			tt.make(t)
			first, second := peer.Capture("lan0"), peer.Capture("lan1")
			second6 := peer.Capture("lan1")
			a := runReal(t, Config{})
			a.Set(map[netip.Addr]Announcement{vip: {Interfaces: []string{tt.link}}, vip6: {Interfaces: []string{tt.link}}})
			for range burst { // after that there is nothing more for a minute
				next(t, first, "announcement", within(tt.vlan, from(netns.MAC(t, tt.link), arpOf(vip, 1))))
			}

			peer.Do(func() error { netns.SetDown(t, "lan0"); return nil })
			isARP := within(tt.vlan, arpOf(vip, 1))
			f := next(t, second, "announcement after the failover", isARP)
			mac := netns.MAC(t, tt.link)
			if !within(tt.vlan, from(mac, arpOf(vip, 1)))(f.Data) {
				next(t, second, "announcement with the MAC after the failover", within(tt.vlan, from(mac, arpOf(vip, 1))))
			}
			next(t, second6, "advertisement after the failover", within(tt.vlan, advertisementOf(vip6)))
			answer(t, second, "answer", tagged(tt.vlan, ask(vip)), within(tt.vlan, from(mac, answered(vip))))
		})
	}
}

// TestRealVLANOfBond: a node with an address on the bond, and one in a VLAN of it. Each Service's address is answered where
// its subnet is, and nowhere else.
func TestRealVLANOfBond(t *testing.T) {
	peer := rack(t)
	bond(t)
	netns.VLAN(t, "bond0", "bond0.5", 5)
	netns.VLAN(t, "bond0", "bond0.6", 6)
	for name, prefix := range map[string]string{"bond0": "192.168.1.2/24", "bond0.5": "192.168.5.2/24"} {
		if err := netns.AddAddr(name, prefix); err != nil {
			t.Fatal(err)
		}
	}
	tap, untagged := peer.Capture("lan0"), peer.Capture("lan0")
	a := runReal(t, Config{})
	inVLAN := netip.MustParseAddr("192.168.5.160")
	a.Set(desire(vip, inVLAN))
	mac := netns.MAC(t, "bond0")
	next(t, untagged, "announcement on the bond", from(mac, arpOf(vip, 1)))
	f := next(t, tap, "announcement in the VLAN", func(b []byte) bool {
		if arpOf(inVLAN, 1)(b) || within(5, arpOf(vip, 1))(b) || within(6, arpOf(inVLAN, 1))(b) {
			t.Errorf("announced outside of its subnet: %x", b)
		}
		return within(5, arpOf(inVLAN, 1))(b)
	})
	if !bytes.Equal(f.Data[6:12], mac) || !bytes.Equal(f.Data[26:32], mac) {
		t.Errorf("announced with MAC %x and %x, want %x", f.Data[6:12], f.Data[26:32], mac)
	}
	// Questions in the wrong places come before those in the right ones: if there were answers, they would, too.
	right := map[netip.Addr]uint16{vip: 0, inVLAN: 5}
	for _, vlan := range []uint16{0, 5, 6} {
		for addr := range right {
			if vlan != right[addr] {
				tap.Send(tagged(vlan, ask(addr)))
			}
		}
	}
	for addr, vlan := range right {
		tap.Send(tagged(vlan, ask(addr)))
		next(t, tap, "answer", func(b []byte) bool {
			for v, stranger := range map[uint16]netip.Addr{0: inVLAN, 5: vip, 6: inVLAN} {
				if within(v, answered(stranger))(b) {
					t.Errorf("answered outside of its subnet: %x", b)
				}
			}
			return within(vlan, from(mac, answered(addr)))(b)
		})
	}
	for name, want := range map[string]netif.Skip{
		"lan0": netif.SkipMember, "lan1": netif.SkipMember, "bond0": netif.Eligible, "bond0.5": netif.Eligible,
	} {
		i := slices.IndexFunc(a.State().Interfaces, func(i InterfaceState) bool { return i.Name == name })
		if got := a.State().Interfaces[i].Skip; got != want {
			t.Errorf("%s: skipped for %q, want %q", name, got, want)
		}
	}
}

// TestRealBridgeOfBond: a bridge on a bond is where the subnet is, or has no address at all. The bond is not used in either
// case.
func TestRealBridgeOfBond(t *testing.T) {
	for _, prefix := range []string{"192.168.1.2/24", ""} {
		t.Run("address "+prefix, func(t *testing.T) {
			peer := rack(t)
			bond(t)
			netns.Bridge(t, "br0", "bond0")
			if prefix != "" {
				if err := netns.AddAddr("br0", prefix); err != nil {
					t.Fatal(err)
				}
			}
			tap := peer.Capture("lan0")
			a := runReal(t, Config{})
			a.Set(desire(vip))
			waitFor(t, "br0 is the one carrier", func() bool {
				return slices.Equal(a.State().Addresses[0].Interfaces, []string{"br0"})
			})
			next(t, tap, "announcement", from(netns.MAC(t, "br0"), arpOf(vip, 1)))
			answer(t, tap, "answer", ask(vip), from(netns.MAC(t, "br0"), answered(vip)))
		})
	}
}

// TestRealLACP: both ends bond the cables (IEEE 802.3ad). One of them is enough.
func TestRealLACP(t *testing.T) {
	lacp := func(b *netlink.Bond) {
		b.Mode = netlink.BOND_MODE_802_3AD
		b.LacpRate = netlink.BOND_LACP_RATE_FAST
	}
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	netns.Veth(t, peer, "lan1")
	peer.Do(func() error { netns.BondOf(t, "bond0", lacp, "lan0", "lan1"); return nil })
	netns.BondOf(t, "bond0", lacp, "lan0", "lan1")
	tap := peer.Capture("bond0")
	a := runReal(t, Config{})
	a.Set(map[netip.Addr]Announcement{vip: {Interfaces: []string{"bond0"}}})
	mac := netns.MAC(t, "bond0")
	answers := func() bool { // the first questions may go to a member that is not taken in yet, or about to be left
		out, err := peer.Run("arping", "-0", "-c", "1", "-w", "1", "-i", "bond0", vip.String())
		return err == nil && strings.Contains(out, mac.String())
	}
	waitFor(t, "answer", answers)
	a.Reannounce(vip) // the first announcements may have come before both ends agreed
	next(t, tap, "announcement", from(mac, arpOf(vip, 1)))
	for _, cut := range []string{"lan0", "lan1"} {
		peer.Do(func() error { netns.SetDown(t, cut); return nil })
		netns.WaitCarrier(t, cut, false)
		waitFor(t, "answer with "+cut+" cut", answers)
		peer.Do(func() error { netns.SetUp(t, cut); return nil })
		netns.WaitCable(t, peer, cut)
		waitFor(t, "answer with "+cut+" back", answers)
	}
}
