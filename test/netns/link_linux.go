package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// waitFor bounds how long the kernel may take until a link is as it was asked to be.
const waitFor = 15 * time.Second

// Veth makes a cable: a link of the given name here, and one of the same name in the peer's namespace. Both are up when it
// returns. The cable is removed when the test ends.
func Veth(tb testing.TB, peer *Peer, name string) {
	tb.Helper()
	Require(tb)
	must(tb, netlink.LinkAdd(&netlink.Veth{
		LinkAttrs:     attrs(name),
		PeerName:      name,
		PeerNamespace: netlink.NsFd(int(peer.handle)),
	}))
	tb.Cleanup(func() { remove(tb, name) })
	must(tb, setUp(name))
	peer.Do(func() error { return setUp(name) })
	WaitCable(tb, peer, name)
}

// WaitCable waits until both ends of a cable have a carrier. One end alone is not enough: the kernel enables the other in
// the background, and drops what is sent there until then.
func WaitCable(tb testing.TB, peer *Peer, name string) {
	tb.Helper()
	WaitCarrier(tb, name, true)
	peer.Do(func() error { return waitCarrier(name, true) })
}

// VethPair makes a cable with both ends here, as a second cable to the same segment needs it.
func VethPair(tb testing.TB, name, other string) {
	tb.Helper()
	Require(tb)
	must(tb, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs(name), PeerName: other}))
	tb.Cleanup(func() { remove(tb, name) })
	must(tb, setUp(name))
	must(tb, setUp(other))
	WaitCarrier(tb, name, true)
}

// VLAN makes the interface name for a VLAN of parent and sets it up. It calls [KernelLacks] if there are no VLANs.
func VLAN(tb testing.TB, parent, name string, id int) {
	tb.Helper()
	Require(tb)
	a := attrs(name)
	a.ParentIndex = Index(tb, parent)
	add(tb, &netlink.Vlan{LinkAttrs: a, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}, "VLAN interfaces")
}

// Bond makes an active-backup bond of the given members, of which the first one is active, and sets it up. It calls
// [KernelLacks] if there are no bonds.
func Bond(tb testing.TB, name string, members ...string) {
	tb.Helper()
	BondOf(tb, name, func(*netlink.Bond) {}, members...)
}

// BondOf is Bond, with other settings than active-backup.
func BondOf(tb testing.TB, name string, set func(*netlink.Bond), members ...string) {
	tb.Helper()
	Require(tb)
	bond := netlink.NewLinkBond(attrs(name))
	bond.Mode = netlink.BOND_MODE_ACTIVE_BACKUP
	bond.Miimon = 10
	set(bond)
	add(tb, bond, "bonds")
	enslave(tb, name, members)
}

// Bridge makes a bridge of the given members and sets it up.
func Bridge(tb testing.TB, name string, members ...string) {
	tb.Helper()
	Require(tb)
	add(tb, &netlink.Bridge{LinkAttrs: attrs(name)}, "bridges")
	enslave(tb, name, members)
}

// add makes a link whose type the kernel may lack.
func add(tb testing.TB, link netlink.Link, kind string) {
	tb.Helper()
	err := netlink.LinkAdd(link)
	if errors.Is(err, unix.EOPNOTSUPP) {
		KernelLacks(tb, kind)
	}
	must(tb, err)
	name := link.Attrs().Name
	tb.Cleanup(func() { remove(tb, name) })
	must(tb, setUp(name))
}

func enslave(tb testing.TB, master string, members []string) {
	tb.Helper()
	for _, member := range members {
		link, err := netlink.LinkByName(member)
		must(tb, err)
		must(tb, netlink.LinkSetDown(link)) // bonds take only links that are down
		must(tb, netlink.LinkSetMasterByIndex(link, Index(tb, master)))
		must(tb, setUp(member))
	}
	WaitCarrier(tb, master, true)
}

// SetUp sets a link up.
func SetUp(tb testing.TB, name string) {
	tb.Helper()
	must(tb, setUp(name))
}

// SetDown sets a link down. The carrier at the other end of a cable goes too.
func SetDown(tb testing.TB, name string) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	must(tb, netlink.LinkSetDown(link))
}

// SetMAC changes the MAC of a link.
func SetMAC(tb testing.TB, name string, mac net.HardwareAddr) {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	must(tb, netlink.LinkSetHardwareAddr(link, mac))
}

// AddAddr gives a link that is up an address with its prefix length, and waits until it is usable. IPv6 addresses are so
// without duplicate address detection. In a peer's namespace call it from [Peer.Do].
func AddAddr(name, prefix string) error {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("add address %s to %s: %w", prefix, name, err)
	}
	return waitLocal(p.Addr())
}

// Duplicate reports whether the kernel has found an IPv6 address of a link to be a duplicate. In a peer's namespace call it from
// [Peer.Do].
func Duplicate(name string) (bool, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return false, fmt.Errorf("find link %s: %w", name, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // by a change meanwhile: what is there is true all the same
		return false, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	return slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_DADFAILED != 0 }), nil
}

// WaitLinkLocal waits until a link that is up may use its IPv6 link-local address: duplicate address detection takes up to two seconds,
// and before that a kernel verifies no neighbour. In a peer's namespace call it from [Peer.Do].
func WaitLinkLocal(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	for deadline := time.Now().Add(waitFor); ; time.Sleep(time.Millisecond) {
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
		if slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
			return a.IP.IsLinkLocalUnicast() && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0
		}) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("link %s has no usable link-local address after %s: %v %w", name, waitFor, addrs, err)
		}
	}
}

// waitLocal waits until frames for addr are received. The kernel makes IPv6 addresses usable in the background, also those
// without duplicate address detection.
func waitLocal(addr netip.Addr) error {
	for deadline := time.Now().Add(waitFor); ; time.Sleep(time.Millisecond) {
		routes, err := netlink.RouteGet(addr.AsSlice())
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("address %s is not usable after %s: %v %v", addr, waitFor, routes, err)
		}
	}
}

// Index returns the index of a link.
func Index(tb testing.TB, name string) int {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	return link.Attrs().Index
}

// MAC returns the MAC of a link.
func MAC(tb testing.TB, name string) net.HardwareAddr {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	must(tb, err)
	return link.Attrs().HardwareAddr
}

// WaitCarrier waits until a link has a carrier and sends what it is given, or until it has none.
func WaitCarrier(tb testing.TB, name string, want bool) {
	tb.Helper()
	must(tb, waitCarrier(name, want))
}

func waitCarrier(name string, want bool) error {
	for deadline := time.Now().Add(waitFor); ; time.Sleep(time.Millisecond) {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		// A new link is called running as well while the kernel has not looked at its carrier; what it is given is lost then.
		up, running := link.Attrs().OperState == netlink.OperUp, link.Attrs().RawFlags&unix.IFF_RUNNING != 0
		if up && want || !running && !want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("link %s: carrier is not %v after %s", name, want, waitFor)
		}
	}
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	return nil
}

// remove removes a link, if the test hasn't.
func remove(tb testing.TB, name string) {
	link, err := netlink.LinkByName(name)
	var gone netlink.LinkNotFoundError
	if errors.As(err, &gone) {
		return
	}
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		tb.Errorf("remove link %s: %v", name, err)
	}
}

func attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name = name
	return a
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
