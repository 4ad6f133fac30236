package ipam

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"strings"
)

// A Range is the addresses From to To, both included. Both ends have one family, From is not above To, neither is an
// IPv4-mapped IPv6 address and neither has a zone; [ParseRange] makes only such ranges.
type Range struct {
	From, To netip.Addr
}

// A RangeError says why a text is no range.
type RangeError struct {
	Text   string // what was parsed
	Reason string // what is wrong and what is allowed
}

// Error returns the text and the reason.
func (e *RangeError) Error() string {
	return fmt.Sprintf("parse range %q: %s", e.Text, e.Reason)
}

// ParseRange reads a CIDR ("192.168.1.0/24"; host bits are cut off) or an inclusive range
// ("192.168.1.160-192.168.1.169", spaces around the dash allowed). An IPv4-mapped IPv6 address or prefix is read as
// the IPv4 it maps. Network and broadcast addresses of a CIDR are part of the range. Errors are of type *RangeError.
func ParseRange(text string) (Range, error) {
	parse := parsePrefix
	if strings.Contains(text, "-") {
		parse = parseFromTo
	}
	r, reason := parse(text)
	if reason != "" {
		return Range{}, &RangeError{Text: text, Reason: reason}
	}
	return r, nil
}

// parsePrefix reads a CIDR and returns it, or the reason why it is none.
func parsePrefix(text string) (Range, string) {
	const allowed = "write a CIDR such as 192.168.1.0/24 or a range such as 192.168.1.160-192.168.1.169"
	switch {
	case strings.TrimSpace(text) == "":
		return Range{}, "is empty; " + allowed
	case !strings.Contains(text, "/"):
		if addr, reason := parseAddr(text); reason == "" {
			return Range{}, fmt.Sprintf("is a single address; write %s/%d", addr, addr.BitLen())
		}
		return Range{}, "is neither a CIDR nor a range; " + allowed
	}
	addrText, _, _ := strings.Cut(text, "/")
	addr, reason := parseAddr(addrText)
	if reason != "" {
		return Range{}, reason
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return Range{}, fmt.Sprintf("has no prefix length of its family; allowed is /0 to /%d", addr.BitLen())
	}
	return prefixRange(prefix)
}

// prefixRange returns the addresses of prefix, as IPv4 if it is an IPv4-mapped prefix.
func prefixRange(prefix netip.Prefix) (Range, string) {
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return Range{}, "is an IPv4-mapped prefix shorter than /96; write it as IPv4"
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	prefix = prefix.Masked()
	return Range{From: prefix.Addr(), To: lastOf(prefix)}, ""
}

// lastOf returns the highest address of a masked prefix.
func lastOf(prefix netip.Prefix) netip.Addr {
	b := prefix.Addr().AsSlice()
	for i := prefix.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// parseFromTo reads "from-to" and returns it, or the reason why it is no range.
func parseFromTo(text string) (Range, string) {
	fromText, toText, _ := strings.Cut(text, "-")
	from, reason := parseAddr(strings.TrimSpace(fromText))
	if reason != "" {
		return Range{}, "start of the range: " + reason
	}
	to, reason := parseAddr(strings.TrimSpace(toText))
	if reason != "" {
		return Range{}, "end of the range: " + reason
	}
	switch {
	case FamilyOf(from) != FamilyOf(to):
		return Range{}, fmt.Sprintf("starts with an %s and ends with an %s address; both ends must be of one family",
			FamilyOf(from), FamilyOf(to))
	case to.Less(from):
		return Range{}, fmt.Sprintf("ends before it starts; write %s-%s", to, from)
	}
	return Range{From: from, To: to}, ""
}

// parseAddr reads one address, and returns it unmapped, or the reason why it is none.
func parseAddr(text string) (netip.Addr, string) {
	addr, err := netip.ParseAddr(text)
	if most := 64; len(text) > most {
		text = text[:most] + "…" // for the message; no address is so long
	}
	switch {
	case text == "":
		return netip.Addr{}, "the address is missing"
	case err != nil && hasLeadingZero(text):
		const reason = "%q has an octet with a leading zero, which could be read as octal; drop the zero"
		return netip.Addr{}, fmt.Sprintf(reason, text)
	case err != nil:
		return netip.Addr{}, fmt.Sprintf("%q is not an IP address", text)
	case addr.Zone() != "":
		return netip.Addr{}, fmt.Sprintf("%q has a zone; addresses of a pool have none", text)
	}
	return addr.Unmap(), ""
}

// hasLeadingZero reports whether text would be an IPv4 address but for octets like 010.
func hasLeadingZero(text string) bool {
	octets := strings.Split(text, ".")
	if len(octets) != 4 {
		return false
	}
	for i, o := range octets {
		octets[i] = strings.TrimLeft(o, "0")
		if octets[i] == "" && o != "" {
			octets[i] = "0"
		}
	}
	_, err := netip.ParseAddr(strings.Join(octets, "."))
	return err == nil
}

// Family returns the family of the range.
func (r Range) Family() Family {
	return FamilyOf(r.From)
}

// valid reports whether r is what the comment of [Range] promises.
func (r Range) valid() bool {
	return r.From.IsValid() && r.From == normal(r.From) && r.To == normal(r.To) &&
		r.From.BitLen() == r.To.BitLen() && !r.To.Less(r.From)
}

// Contains reports whether addr lies in the range.
func (r Range) Contains(addr netip.Addr) bool {
	return r.From.BitLen() == addr.BitLen() && !addr.Less(r.From) && !r.To.Less(addr)
}

// Overlaps reports whether the two ranges have an address in common.
func (r Range) Overlaps(o Range) bool {
	return r.From.BitLen() == o.From.BitLen() && !o.To.Less(r.From) && !r.To.Less(o.From)
}

// Size returns the number of addresses, and math.MaxInt64 if there are more, as MetalLB's metrics do.
func (r Range) Size() uint64 {
	d, ok := distance(r.From, r.To)
	if !ok || d >= math.MaxInt64 {
		return math.MaxInt64
	}
	return d + 1
}

// String returns the range in a form that [ParseRange] reads: a CIDR if it is one, else "from-to".
func (r Range) String() string {
	if prefix, ok := r.prefix(); ok {
		return prefix.String()
	}
	return r.From.String() + "-" + r.To.String()
}

// prefix returns the one CIDR that r is equal to, if there is one.
func (r Range) prefix() (netip.Prefix, bool) {
	if !r.valid() {
		return netip.Prefix{}, false
	}
	from, to := r.From.AsSlice(), r.To.AsSlice()
	common := 0
	for i := range from {
		n := bits.LeadingZeros8(from[i] ^ to[i])
		common += n
		if n < 8 {
			break
		}
	}
	prefix := netip.PrefixFrom(r.From, common)
	return prefix, prefix.Masked().Addr() == r.From && lastOf(prefix.Masked()) == r.To
}

// distance returns to - from, and false if that doesn't fit into 64 bits. Both have one family, from is not above to.
func distance(from, to netip.Addr) (uint64, bool) {
	fromHi, fromLo := halves(from)
	toHi, toLo := halves(to)
	lo, borrow := bits.Sub64(toLo, fromLo, 0)
	hi, _ := bits.Sub64(toHi, fromHi, borrow)
	return lo, hi == 0
}

// advance returns the address n above addr. The caller knows that the sum is an address of the same family.
func advance(addr netip.Addr, n uint64) netip.Addr {
	if addr.Is4() {
		b := addr.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(n))
		return netip.AddrFrom4(b)
	}
	hi, lo := halves(addr)
	lo, carry := bits.Add64(lo, n, 0)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi+carry)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

// halves returns the upper and lower 64 bits of addr; an IPv4 address is its number alone.
func halves(addr netip.Addr) (hi, lo uint64) {
	if addr.Is4() {
		b := addr.As4()
		return 0, uint64(binary.BigEndian.Uint32(b[:]))
	}
	b := addr.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}
