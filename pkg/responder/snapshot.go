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

// Entry says what a [Responder] does about one address.
type Entry struct {
	// Counter counts the address's frames; nil: nobody wants to know.
	Counter *Counter
	// Tentative is RFC 4862's word for an address that is not this host's yet: it is watched and may be probed for, but
	// neither answered nor announced.
	Tentative bool
}

// snapshot is what answers are made from. It is never modified.
type snapshot struct {
	mac   [6]byte
	nonce [6]byte // of our own probes
	v4    map[[4]byte]Entry
	v6    map[[16]byte]Entry
}

// newSnapshot copies addrs. An address without a counter gets one of its own.
func newSnapshot(mac, nonce [6]byte, addrs map[netip.Addr]Entry) *snapshot {
	s := &snapshot{mac: mac, nonce: nonce, v4: make(map[[4]byte]Entry), v6: make(map[[16]byte]Entry)}
	for addr, entry := range addrs {
		if entry.Counter == nil {
			entry.Counter = new(Counter)
		}
		if addr = addr.Unmap(); addr.Is4() {
			s.v4[addr.As4()] = entry
		} else {
			s.v6[addr.As16()] = entry
		}
	}
	return s
}

// entry returns what is to be done about addr; false if nothing.
func (s *snapshot) entry(addr netip.Addr) (Entry, bool) {
	if addr.Is4() {
		entry, ok := s.v4[addr.As4()]
		return entry, ok
	}
	entry, ok := s.v6[addr.As16()]
	return entry, ok
}

// groups returns the multicast groups that are needed to hear of the IPv6 addresses, sorted, each once: their
// solicited-node groups, and all nodes, to which whoever claims an address says so. The kernel is a member of the latter
// too, unless IPv6 is off for the interface.
func (s *snapshot) groups() []netip.Addr {
	if len(s.v6) == 0 {
		return nil
	}
	out := []netip.Addr{netip.AddrFrom16(allNodes)}
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
