package responder

import (
	"net"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

// The frames of the tests are made and read with the packages of mdlayher, which know nothing of the code under test.

var (
	clientMAC = mac("02:00:5e:00:00:99")
	otherMAC  = mac("02:00:5e:00:00:77")

	ownMAC   = mac("02:00:5e:00:00:01")
	ownNonce = [6]byte{1, 2, 3, 4, 5, 6}

	vip4      = netip.MustParseAddr("192.0.2.1")
	client4   = netip.MustParseAddr("192.0.2.99")
	foreign4  = netip.MustParseAddr("192.0.2.2")
	vip6      = netip.MustParseAddr("2001:db8::1")
	client6   = netip.MustParseAddr("2001:db8::99")
	foreign6  = netip.MustParseAddr("2001:db8::2")
	watched4  = netip.MustParseAddr("192.0.2.3")
	watched6  = netip.MustParseAddr("2001:db8::3")
	sameGroup = netip.MustParseAddr("2001:db8:1::1") // another address of vip6's solicited-node group
	nodes6    = netip.MustParseAddr("ff02::1")
)

func mac(s string) [6]byte {
	hw, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return [6]byte(hw)
}

// arpSpec describes an ARP frame.
type arpSpec struct {
	op        arp.Operation
	to, from  [6]byte // Ethernet header
	senderMAC [6]byte
	sender    netip.Addr
	targetMAC [6]byte
	target    netip.Addr
}

// request is what a client sends to learn vip4's MAC.
func request() arpSpec {
	return arpSpec{
		op: arp.OperationRequest, to: broadcast, from: clientMAC, senderMAC: clientMAC, sender: client4, target: vip4,
	}
}

// reply is the answer to request.
func reply() arpSpec {
	return arpSpec{
		op: arp.OperationReply, to: clientMAC, from: ownMAC,
		senderMAC: ownMAC, sender: vip4, targetMAC: clientMAC, target: client4,
	}
}

// bytes returns the frame, padded as it goes over the wire.
func (s arpSpec) bytes(tb testing.TB) []byte {
	tb.Helper()
	p, err := arp.NewPacket(s.op, s.senderMAC[:], s.sender, s.targetMAC[:], s.target)
	if err != nil {
		tb.Fatal(err)
	}
	payload, err := p.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	f := ethernet.Frame{Destination: s.to[:], Source: s.from[:], EtherType: ethernet.EtherTypeARP, Payload: payload}
	b, err := f.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// ndpSpec describes a neighbour message in its frame.
type ndpSpec struct {
	to, from       [6]byte // Ethernet header
	source, dest   netip.Addr
	hops           byte
	message        ndp.Message
	spoilChecksum  bool
	nextHeader     byte
	payloadTooLong int // how much the IPv6 header claims beyond the message
}

// solicitation is what a client multicasts to learn vip6's MAC.
func solicitation() ndpSpec {
	return ndpSpec{
		to: groupOf(vip6), from: clientMAC, source: client6, dest: netip.AddrFrom16(solicitedNode(vip6.As16())), hops: 255,
		message: ns(vip6, clientMAC),
	}
}

// advertisement is the answer to solicitation.
func advertisement() ndpSpec {
	return ndpSpec{
		to: clientMAC, from: ownMAC, source: vip6, dest: client6, hops: 255, message: na(vip6, ownMAC, true),
	}
}

// defence is the answer to duplicate address detection, and the unsolicited advertisement.
func defence() ndpSpec {
	return ndpSpec{
		to: allNodesMAC, from: ownMAC, source: vip6, dest: nodes6, hops: 255, message: na(vip6, ownMAC, false),
	}
}

// ns returns a solicitation, without its option if the MAC is zero.
func ns(target netip.Addr, source [6]byte) *ndp.NeighborSolicitation {
	m := &ndp.NeighborSolicitation{TargetAddress: target}
	if source != ([6]byte{}) {
		m.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: source[:]}}
	}
	return m
}

func na(target netip.Addr, mac [6]byte, solicited bool) *ndp.NeighborAdvertisement {
	return &ndp.NeighborAdvertisement{
		Solicited: solicited, Override: true, TargetAddress: target,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac[:]}},
	}
}

func groupOf(addr netip.Addr) [6]byte {
	group := solicitedNode(addr.As16())
	return [6]byte(groupMAC(netip.AddrFrom16(group)))
}

func (s ndpSpec) bytes(tb testing.TB) []byte {
	tb.Helper()
	icmp, err := ndp.MarshalMessageChecksum(s.message, s.source, s.dest)
	if err != nil {
		tb.Fatal(err)
	}
	if s.spoilChecksum {
		icmp[2] ^= 0x55
	}
	next := s.nextHeader
	if next == 0 {
		next = 58
	}
	length := len(icmp) + s.payloadTooLong
	b := append([]byte{}, s.to[:]...)
	b = append(b, s.from[:]...)
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, byte(length>>8), byte(length), next, s.hops)
	b = append(b, s.source.AsSlice()...)
	b = append(b, s.dest.AsSlice()...)
	return append(b, icmp...)
}

// claim4 is the announcement of somebody else who has vip4.
func claim4() arpSpec {
	return arpSpec{
		op: arp.OperationRequest, to: broadcast, from: clientMAC, senderMAC: clientMAC, sender: vip4, target: vip4,
	}
}

// claim6 is the announcement of somebody else who has vip6.
func claim6() ndpSpec {
	return ndpSpec{
		to: allNodesMAC, from: clientMAC, source: client6, dest: nodes6, hops: 255, message: na(vip6, clientMAC, false),
	}
}

// probe4 is how somebody asks whether he may have an address.
func probe4(addr netip.Addr) arpSpec {
	return arpSpec{
		op: arp.OperationRequest, to: broadcast, from: clientMAC, senderMAC: clientMAC, sender: netip.IPv4Unspecified(),
		target: addr,
	}
}

// probe6 is how somebody asks whether he may have an address, with a nonce or without (zero).
func probe6(addr netip.Addr, nonce [6]byte) ndpSpec {
	m := ns(addr, [6]byte{})
	if nonce != ([6]byte{}) {
		m.Options = []ndp.Option{&ndp.RawOption{Type: 14, Length: 1, Value: nonce[:]}}
	}
	return ndpSpec{
		to: groupOf(addr), from: clientMAC, source: netip.IPv6Unspecified(),
		dest: netip.AddrFrom16(solicitedNode(addr.As16())), hops: 255, message: m,
	}
}

// testSnapshot holds vip4 and vip6 on ownMAC, and watches watched4 and watched6.
func testSnapshot() *snapshot {
	return newSnapshot(ownMAC, ownNonce, map[netip.Addr]Entry{
		vip4: {}, vip6: {}, watched4: {Tentative: true}, watched6: {Tentative: true},
	})
}
