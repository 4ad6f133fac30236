package responder

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/netns"
)

// newClient returns a cable with a Linux host at its far end, and a responder for vip4 and vip6 at this one.
func newClient(t *testing.T) (*vethWire, map[netip.Addr]Entry) {
	w := newVethWire(t)
	w.peer.Do(func() error {
		if err := netns.AddAddr("lan0", client4.String()+"/24"); err != nil {
			return err
		}
		return netns.AddAddr("lan0", client6.String()+"/64")
	})
	r := Open(w.config())
	t.Cleanup(r.Close)
	set := hold(vip4, vip6)
	r.Set(set)
	return w, set
}

// neighbour waits until the peer's entry for addr is in a state, and returns its MAC.
func neighbour(t *testing.T, w *vethWire, addr netip.Addr, state int) (hw net.HardwareAddr) {
	t.Helper()
	w.peer.Do(func() error {
		var last []netlink.Neigh
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			neighbours, err := netlink.NeighList(netns.Index(t, "lan0"), netlink.FAMILY_ALL)
			if err != nil {
				return err
			}
			for _, n := range neighbours {
				if ip, _ := netip.AddrFromSlice(n.IP); ip.Unmap() == addr && n.State&state != 0 {
					hw = n.HardwareAddr
					return nil
				}
			}
			last = neighbours
		}
		return fmt.Errorf("neighbour %v is not in state %#x: %v", addr, state, last)
	})
	return hw
}

// talk makes the peer send a datagram to addr, and so resolve it.
func talk(w *vethWire, addr netip.Addr) {
	w.peer.Do(func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(addr, 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("hello"))
		return err
	})
}

// TestLinuxResolves has the Linux kernel as a client: it resolves an address by multicast, and verifies it by unicast as
// routers do before they let an entry expire.
func TestLinuxResolves(t *testing.T) {
	w, set := newClient(t)
	w.peer.Do(func() error { return netns.WaitLinkLocal("lan0") }) // it verifies from there
	for _, addr := range []netip.Addr{vip4, vip6} {
		t.Run(addr.String(), func(t *testing.T) {
			talk(w, addr)
			if got := neighbour(t, w, addr, netlink.NUD_REACHABLE); got.String() != net.HardwareAddr(ownMAC[:]).String() {
				t.Fatalf("resolved to %v, want %x", got, ownMAC)
			}
			before := set[addr].Counter.Answers.Load()
			w.peer.Do(func() error {
				return netlink.NeighSet(&netlink.Neigh{
					LinkIndex: netns.Index(t, "lan0"), IP: addr.AsSlice(), HardwareAddr: ownMAC[:], State: netlink.NUD_PROBE,
				})
			})
			waitFor(t, "unicast probe is answered", func() bool { return set[addr].Counter.Answers.Load() > before })
			neighbour(t, w, addr, netlink.NUD_REACHABLE)
		})
	}
}

// TestLinuxHeedsAnnouncements: an entry with the MAC of a former holder changes when the new holder announces.
func TestLinuxHeedsAnnouncements(t *testing.T) {
	w, _ := newClient(t)
	r := Open(w.config())
	defer r.Close()
	r.Set(hold(vip4, vip6))
	for _, addr := range []netip.Addr{vip4, vip6} {
		w.peer.Do(func() error {
			return netlink.NeighSet(&netlink.Neigh{
				LinkIndex: netns.Index(t, "lan0"), IP: addr.AsSlice(), HardwareAddr: otherMAC[:], State: netlink.NUD_STALE,
			})
		})
		// Linux ignores changes of ARP entries younger than a second (arp_locktime): that is what the schedule of package
		// layer2 is for.
		waitFor(t, "entry has our MAC", func() bool {
			if _, err := r.Announce(addr); err != nil {
				t.Fatal(err)
			}
			got := neighbour(t, w, addr, netlink.NUD_STALE|netlink.NUD_REACHABLE)
			return [6]byte(got) == ownMAC
		})
	}
}

// TestLinuxGivesWay: a host that is configured with the address finds out that it is taken.
func TestLinuxGivesWay(t *testing.T) {
	w, _ := newClient(t)
	w.peer.Do(func() error {
		link, err := netlink.LinkByName("lan0")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(vip6.String() + "/64")
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if found, err := netns.Duplicate("lan0"); found || err != nil {
				return err
			}
		}
		return fmt.Errorf("%v is not marked as a duplicate after %s", vip6, patience)
	})
}

// TestArping has arping as a client, with and without an address of its own.
func TestArping(t *testing.T) {
	w, _ := newClient(t)
	ours := regexp.MustCompile(`(?i)` + net.HardwareAddr(ownMAC[:]).String())
	for name, args := range map[string][]string{
		"request": {"-c", "1", "-w", "2", "-i", "lan0", vip4.String()},
		"probe":   {"-0", "-c", "1", "-w", "2", "-i", "lan0", vip4.String()},
	} {
		if out, err := w.peer.Run("arping", args...); err != nil || !ours.MatchString(out) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	if out, err := w.peer.Run("arping", "-c", "1", "-w", "1", "-i", "lan0", foreign4.String()); err == nil {
		t.Errorf("a foreign address is answered:\n%s", out)
	}
}

// TestNdisc6 has ndisc6 as a client. It is told its source, since the link-local address is still tentative at times.
func TestNdisc6(t *testing.T) {
	w, _ := newClient(t)
	ours := regexp.MustCompile(`(?i)` + net.HardwareAddr(ownMAC[:]).String())
	if out, err := w.peer.Run("ndisc6", "-1", "-r", "1", "-s", client6.String(), vip6.String(), "lan0"); err != nil || !ours.MatchString(out) {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := w.peer.Run("ndisc6", "-1", "-r", "1", "-w", "200", "-s", client6.String(), foreign6.String(), "lan0"); err == nil {
		t.Errorf("a foreign address is answered:\n%s", out)
	}
}

// TestMulticastReports: the kernel reports the membership in the solicited-node group, as switches with MLD snooping need
// it, and keeps it to itself when the address goes.
func TestMulticastReports(t *testing.T) {
	w := newVethWire(t)
	held := netip.MustParseAddr("2001:db8::12:3456") // in another group than the link-local address
	member := func() bool {
		maddrs, err := groupsOf("lan0")
		if err != nil {
			t.Fatal(err)
		}
		return maddrs[netip.AddrFrom16(solicitedNode(held.As16()))]
	}
	r := Open(w.config())
	defer r.Close()
	if member() {
		t.Fatal("member before the address is held")
	}
	r.Set(hold(held))
	if !member() {
		t.Error("not a member while the address is held")
	}
	report := func(b []byte) bool {
		group := solicitedNode(held.As16())
		// An MLDv2 report (RFC 3810): a hop-by-hop header of 8 bytes before ICMPv6 type 143.
		return len(b) > offICMP+36 && b[12] == 0x86 && b[offICMP+8] == 143 && bytes.Contains(b, group[:])
	}
	if _, ok := w.tap.Next(patience, report); !ok {
		t.Error("no MLD report")
	}
	r.Set(hold(vip4))
	if member() {
		t.Error("member after the address is gone")
	}
}

// TestManyGroups: a thousand addresses with different groups fit.
func TestManyGroups(t *testing.T) {
	w := newVethWire(t)
	r := Open(w.config())
	defer r.Close()
	set := make(map[netip.Addr]Entry)
	for i := range 1000 {
		b := vip6.As16()
		b[14], b[15] = byte(i>>8), byte(i)
		set[netip.AddrFrom16(b)] = Entry{}
	}
	r.Set(set)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	groups, err := groupsOf("lan0")
	if err != nil {
		t.Fatal(err)
	}
	for addr := range set {
		if !groups[netip.AddrFrom16(solicitedNode(addr.As16()))] {
			t.Fatalf("group of %v is not joined", addr)
		}
	}
}

// TestLinkDown: a socket whose link goes down fails, and works again by itself once the link is back.
func TestLinkDown(t *testing.T) {
	w := newVethWire(t)
	cfg := w.config()
	states := make(chan struct{}, 100)
	cfg.OnState = func() { states <- struct{}{} }
	r := Open(cfg)
	defer r.Close()
	r.Set(hold(vip4, vip6))
	netns.SetDown(t, "lan0")
	<-states
	netns.SetUp(t, "lan0")
	netns.WaitCable(t, w.peer, "lan0")
	waitFor(t, "sockets are open again", func() bool { return r.Err() == nil && cfg.Stats.Reopened.Load() >= 2 })
	w.send(request().bytes(t))
	expect(t, w, reply().bytes(t))
	w.send(solicitation().bytes(t))
	expect(t, w, advertisement().bytes(t))
}

// groupsOf returns the IPv6 multicast groups that the kernel has joined on an interface.
func groupsOf(name string) (map[netip.Addr]bool, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, err
	}
	addrs, err := ifi.MulticastAddrs()
	if err != nil {
		return nil, err
	}
	out := make(map[netip.Addr]bool)
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.(*net.IPAddr).IP); ok && ip.Is6() {
			out[ip] = true
		}
	}
	return out, nil
}

// TestCapabilities: CAP_NET_RAW is needed, and nothing else is. That is all that the speaker's pod has.
func TestCapabilities(t *testing.T) {
	w := newVethWire(t)
	for name, tt := range map[string]struct {
		capabilities uint32
		want         error
	}{
		"none":    {0, unix.EPERM},
		"NET_RAW": {1 << unix.CAP_NET_RAW, nil},
	} {
		w.peer.Do(func() error {
			header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
			data := [2]unix.CapUserData{{Effective: tt.capabilities, Permitted: tt.capabilities}}
			ifi := Interface{Index: netns.Index(t, "lan0"), Name: "lan0", MAC: clientMAC}
			if err := unix.Capset(&header, &data[0]); err != nil {
				return err
			}
			filter, err := assembleFilter(filterNDP(testSnapshot(), maxIntervals))
			if err != nil {
				return err
			}
			c, err := openPacket(ifi, etherTypeIPv6, filter)
			if !errors.Is(err, tt.want) {
				return fmt.Errorf("%s: error %v, want %v", name, err, tt.want)
			}
			if err != nil {
				return nil
			}
			defer c.close()
			group := netip.AddrFrom16(solicitedNode(vip6.As16()))
			return errors.Join(c.join(group), c.setFilter(filter), c.send(defence().bytes(t)), c.leave(group))
		})
	}
}

// TestKernelHearsFirst: clients that have heard of a move may be redirected right away.
func TestKernelHearsFirst(t *testing.T) {
	w := newFakeWire(t)
	var order []string
	w.told = func(frame []byte) { order = append(order, fmt.Sprintf("told %x", frame)) }
	w.sent = func(frame []byte) { order = append(order, fmt.Sprintf("sent %x", frame)) }
	r := Open(w.config())
	defer r.Close()
	r.Set(hold(vip6))
	if _, err := r.Announce(vip6); err != nil {
		t.Fatal(err)
	}
	frame := announceNDP(ownMAC, vip6)[0]
	if diff := cmp.Diff([]string{fmt.Sprintf("told %x", frame), fmt.Sprintf("sent %x", frame)}, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRedirect: what is left of a connection to the last holder is not translated by kube-proxy on the new one, whose kernel forwards
// it to whom it takes for the neighbour, and redirects the client there (RFC 4861 section 8.2). That has to be the new holder itself.
func TestRedirect(t *testing.T) {
	w, _ := newClient(t)
	node := client6.Next()
	if err := netns.AddAddr("lan0", node.String()+"/64"); err != nil {
		t.Fatal(err)
	}
	forward := func(value string) {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte(value), 0o644); err != nil {
			t.Error(err)
		}
	}
	forward("1")
	defer forward("0")
	index := netns.Index(t, "lan0")
	if err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex: index, IP: vip6.AsSlice(), HardwareAddr: otherMAC[:], State: netlink.NUD_STALE,
	}); err != nil {
		t.Fatal(err)
	}
	r := Open(w.config())
	defer r.Close()
	r.Set(hold(vip6))
	if _, err := r.Announce(vip6); err != nil {
		t.Fatal(err)
	}
	// The kernel sends none before its link-local address is usable, and then one in a while.
	const typeRedirect, offTarget, offOption = 137, offICMP + 24, offICMP + 40 // the second is that of its destination field
	var redirect []byte
	waitFor(t, "redirect", func() bool {
		talk(w, vip6)
		f, ok := w.tap.Next(100*time.Millisecond, func(b []byte) bool {
			return len(b) >= offOption+8 && b[12] == 0x86 && b[offICMP] == typeRedirect && bytes.Equal(b[offTarget:offOption], vip6.AsSlice())
		})
		redirect = f.Data
		return ok
	})
	if got := net.HardwareAddr(redirect[offOption+2 : offOption+8]); redirect[offOption] != optionTargetMAC || !bytes.Equal(got, ownMAC[:]) {
		t.Errorf("the kernel redirects the client to %v, want %v", got, net.HardwareAddr(ownMAC[:]))
	}
}
