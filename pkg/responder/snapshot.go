package responder

import (
	"net/netip"
	"slices"
	"sync/atomic"
)

// Counter counts the frames of one address. It may be shared between responders.
type Counter struct {
	// Requests is the number of requests for the address that were received and are for this node to answer.
	Requests atomic.Uint64
	// Answers is the number of answers sent.
	Answers atomic.Uint64
	// Announcements is the number of gratuitous frames sent.
	Announcements atomic.Uint64
}

// snapshot is what answers are made from. It is never modified.
type snapshot struct {
	mac [6]byte
	v4  map[[4]byte]*Counter
	v6  map[[16]byte]*Counter
}

// newSnapshot copies addrs. An address without a counter gets one of its own.
func newSnapshot(mac [6]byte, addrs map[netip.Addr]*Counter) *snapshot {
	s := &snapshot{mac: mac, v4: make(map[[4]byte]*Counter), v6: make(map[[16]byte]*Counter)}
	for addr, counter := range addrs {
		if counter == nil {
			counter = new(Counter)
		}
		if addr = addr.Unmap(); addr.Is4() {
			s.v4[addr.As4()] = counter
		} else {
			s.v6[addr.As16()] = counter
		}
	}
	return s
}

// counter returns the counter of addr, nil if addr is not held.
func (s *snapshot) counter(addr netip.Addr) *Counter {
	if addr.Is4() {
		return s.v4[addr.As4()]
	}
	return s.v6[addr.As16()]
}

// groups returns the solicited-node multicast groups of the IPv6 addresses, sorted, each once.
func (s *snapshot) groups() []netip.Addr {
	var out []netip.Addr
	for addr := range s.v6 {
		out = append(out, netip.AddrFrom16(solicitedNode(addr)))
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// solicitedNode returns the group ff02::1:ffXX:XXXX of addr (RFC 4291 section 2.7.1).
func solicitedNode(addr [16]byte) [16]byte {
	return [16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: addr[13], 14: addr[14], 15: addr[15]}
}
