package ipam

import "net/netip"

// A Family is an IP address family. Its zero value is no family.
type Family uint8

// The two families; the names are those of Kubernetes' spec.ipFamilies.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of addr, IPv4 also for an IPv4-mapped IPv6 address, and 0 for the zero Addr.
func FamilyOf(addr netip.Addr) Family {
	switch {
	case !addr.IsValid():
		return 0
	case addr.Unmap().Is4():
		return IPv4
	default:
		return IPv6
	}
}

// String returns "IPv4" or "IPv6".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	default:
		return "no family"
	}
}

// slot maps the two families to the indices of a [2]T.
func (f Family) slot() int {
	if f == IPv6 {
		return 1
	}
	return 0
}

// normal returns addr in the one form used inside: IPv4 unmapped, no zone.
func normal(addr netip.Addr) netip.Addr {
	return addr.Unmap().WithZone("")
}
