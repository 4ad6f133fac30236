package netif

import (
	"net"
	"net/netip"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
)

// MAC is an Ethernet address. Unlike [net.HardwareAddr] it can be compared and is text in JSON.
type MAC [6]byte

// String returns m in the form 02:00:5e:10:00:01.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText implements [encoding.TextMarshaler].
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Skip is the reason why an interface carries no announcements.
type Skip string

// The reasons for skipping an interface, in the order in which they are looked for. The last two pass by themselves, so
// an interface that has one of them still claims the addresses of its subnets: see [Snapshot.Carriers].
const (
	// Eligible is the absence of a reason.
	Eligible Skip = ""
	// SkipExcluded: the name matches an exclusion pattern.
	SkipExcluded Skip = "name is excluded"
	// SkipLoopback: frames sent there reach nobody.
	SkipLoopback Skip = "loopback"
	// SkipNotEthernet: InfiniBand, tunnels and others whose link-layer address is not a 6-byte MAC.
	SkipNotEthernet Skip = "not Ethernet"
	// SkipMember: a bond, bridge or VRF owns the interface; announcements go out there.
	SkipMember Skip = "member of another interface"
	// SkipNoARP: the interface is set not to resolve addresses (IFF_NOARP).
	SkipNoARP Skip = "ARP is off"
	// SkipDown: an administrator has not set the interface up (IFF_UP).
	SkipDown Skip = "not up"
	// SkipNoCarrier: no cable, no peer, or a port that is not authorised yet (IFF_RUNNING is not set).
	SkipNoCarrier Skip = "no carrier"
)

// temporary reports whether the interface would carry announcements if its link came up.
func (s Skip) temporary() bool { return s == SkipDown || s == SkipNoCarrier }

// Interface is what a snapshot knows of one network interface.
type Interface struct {
	// Index is the kernel's number of the interface. A name may move to another interface, an index does not.
	Index int `json:"index"`
	// Name is the interface's name, eth0 for instance.
	Name string `json:"name"`
	// MAC is the Ethernet address, all zero where there is none.
	MAC MAC `json:"mac"`
	// Prefixes are the addresses of the interface with their prefix length, host bits kept, sorted.
	Prefixes []netip.Prefix `json:"prefixes,omitempty"`
	// Carrier reports whether the link is up and running.
	Carrier bool `json:"carrier"`
	// Skip says why the interface carries no announcements; [Eligible] if it may.
	Skip Skip `json:"skip,omitempty"`
	// Epoch changes whenever the neighbours may have forgotten or misplaced this interface: the link was down in the
	// meantime, a bond switched to another port, a virtual machine moved to another host.
	Epoch uint64 `json:"-"`
}

// Eligible reports whether the interface can carry announcements now.
func (i Interface) Eligible() bool { return i.Skip == Eligible }

func (i Interface) equal(o Interface) bool {
	return i.Index == o.Index && i.Name == o.Name && i.MAC == o.MAC && i.Carrier == o.Carrier && i.Skip == o.Skip &&
		i.Epoch == o.Epoch && slices.Equal(i.Prefixes, o.Prefixes)
}

// link is the part of a netlink link message that decides about an interface.
type link struct {
	index    int
	name     string
	mac      net.HardwareAddr
	ethernet bool   // ARPHRD_ETHER
	flags    uint32 // IFF_*
	master   int    // index of the bond, bridge or VRF, or 0
	parent   int    // index of the interface that this one is made on, as VLANs are, or 0
	carrier  uint32 // how often the carrier came up (IFLA_CARRIER_UP_COUNT)
}

// judge returns the reason why l carries no announcements.
func judge(l link, exclude []*regexp.Regexp) Skip {
	switch {
	case excluded(l.name, exclude):
		return SkipExcluded
	case l.flags&unix.IFF_LOOPBACK != 0:
		return SkipLoopback
	case !l.ethernet || len(l.mac) != len(MAC{}):
		return SkipNotEthernet
	case l.master != 0:
		return SkipMember
	case l.flags&unix.IFF_NOARP != 0:
		return SkipNoARP
	case l.flags&unix.IFF_UP == 0:
		return SkipDown
	case l.flags&unix.IFF_RUNNING == 0:
		return SkipNoCarrier
	}
	return Eligible
}

func excluded(name string, patterns []*regexp.Regexp) bool {
	return slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool { return re.MatchString(name) })
}

// newInterface joins what is known of one interface. bumps counts the events that make the neighbours' knowledge stale
// but leave no trace in the link itself.
func newInterface(l link, prefixes []netip.Prefix, bumps uint64, exclude []*regexp.Regexp) Interface {
	i := Interface{
		Index:    l.index,
		Name:     l.name,
		Prefixes: prefixes,
		Carrier:  l.flags&unix.IFF_UP != 0 && l.flags&unix.IFF_RUNNING != 0,
		Skip:     judge(l, exclude),
		Epoch:    bumps + uint64(l.carrier),
	}
	if len(l.mac) == len(i.MAC) {
		i.MAC = MAC(l.mac)
	}
	return i
}
