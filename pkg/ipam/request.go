package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// A Request is all that allocation needs to know of one Service. The Allocator keeps no reference to its maps.
type Request struct {
	// Service is the Service as "namespace/name".
	Service string
	// Namespace, NamespaceLabels and Labels (of the Service) are what the selectors of pools look at.
	Namespace               string
	NamespaceLabels, Labels map[string]string

	// Families are the families wanted, in order of preference; addresses are returned in this order.
	Families []Family
	// Partial says that fewer families will do (ipFamilyPolicy PreferDualStack). The others are gained later when
	// they can be had.
	Partial bool

	// Addrs are the addresses asked for, at most one for each family (spec.loadBalancerIP, annotation
	// loadBalancerIPs). A wanted family without an address here is allocated as usual.
	Addrs []netip.Addr
	// Pool is the pool asked for (annotation address-pool), or "".
	Pool string
	// Reallocate gives up addresses that no pool would let the Service hold today (annotation invar.io/reallocate).
	Reallocate bool

	// Ports, SharingKey and BackendKey decide with whom an address may be shared: equal, non-empty sharing keys
	// (annotation allow-shared-ip), no port in common, equal back-end keys. BackendKey is opaque; MetalLB uses "" for
	// externalTrafficPolicy Cluster and the text of spec.selector for Local.
	Ports                  []Port
	SharingKey, BackendKey string

	// FromPools are the pools that the adopted addresses came from as far as is known (annotation
	// ip-allocated-from-pool): one name for all addresses, or one for each. Only Adopt reads them.
	// They tell a Service whose pool was edited under it from one whose user asks for another pool.
	FromPools []string
}

// A Port is a port of a Service.
type Port struct {
	Protocol string // "TCP", "UDP" or "SCTP"
	Port     uint16
}

// String returns the port as "TCP/80".
func (p Port) String() string {
	return fmt.Sprintf("%s/%d", p.Protocol, p.Port)
}

// An Allocation is what a Service holds.
type Allocation struct {
	// Addrs are the held addresses: wanted families in the order of the request, then others that it still holds.
	Addrs []netip.Addr
	// Pools names the pool each of Addrs came from: the pool it lies in or, if it lies in none now or its user
	// asked for the pool by name, the one it lay in when it was allocated. "" if that is not known.
	Pools []string
	// Stranded are those of Addrs that lie in no pool now.
	Stranded []netip.Addr
	// Left are addresses that the Service gave up but that stay reserved for it until [Allocator.Confirm].
	Left []netip.Addr
	// Freed says that this call made something available that another Service may wait for: a port of a shared
	// address, or a sharing key. Addresses come free in Confirm and Release.
	Freed bool
	// Missing says why Addrs lacks a wanted family of a Partial request; nil if it lacks none. Such a Service is
	// content but worth another try whenever something comes free.
	Missing *Refusal
}

// normalised returns the request with addresses, families and ports in the one form used inside.
func (r Request) normalised() Request {
	r.Addrs = slices.Clone(r.Addrs)
	for i, addr := range r.Addrs {
		r.Addrs[i] = normal(addr)
	}
	r.Families = unique(r.Families)
	return r
}

// terms returns the conditions under which the Service shares.
func (r *Request) terms() terms {
	ports := slices.Clone(r.Ports)
	slices.SortFunc(ports, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	t := terms{ports: slices.Compact(ports)}
	if r.SharingKey != "" {
		t.group = group{key: r.SharingKey, backend: r.BackendKey}
	}
	return t
}

// requested returns the address asked for in family f, or the zero Addr.
func (r *Request) requested(f Family) netip.Addr {
	for _, addr := range r.Addrs {
		if FamilyOf(addr) == f {
			return addr
		}
	}
	return netip.Addr{}
}

// unique returns a copy of list without repetitions, in the same order.
func unique[T comparable](list []T) []T {
	out := make([]T, 0, len(list))
	for _, v := range list {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
