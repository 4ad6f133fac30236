package netif

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Snapshot is the state of all interfaces at one moment. It is never modified.
type Snapshot struct {
	all []Interface // sorted by index
	// able are those that carry announcements or would if their link came up: what Carriers looks at.
	able []Interface
}

// NewSnapshot returns the snapshot that consists of the given interfaces.
func NewSnapshot(interfaces ...Interface) *Snapshot {
	s := &Snapshot{all: slices.Clone(interfaces)}
	slices.SortFunc(s.all, func(a, b Interface) int { return cmp.Compare(a.Index, b.Index) })
	for _, i := range s.all {
		if i.Eligible() || i.Skip.temporary() {
			s.able = append(s.able, i)
		}
	}
	return s
}

// Interfaces returns all interfaces, sorted by index. The caller must not modify them.
func (s *Snapshot) Interfaces() []Interface {
	if s == nil {
		return nil
	}
	return s.all
}

// Equal reports whether both snapshots say the same.
func (s *Snapshot) Equal(o *Snapshot) bool {
	return slices.EqualFunc(s.Interfaces(), o.Interfaces(), Interface.equal)
}

// Carriers returns the interfaces that carry addr, sorted by index, or the reason why there are none:
//
//  1. If allowed names interfaces, the eligible ones among them.
//  2. Else, if addr lies in the subnet of some interface, the eligible one with the lowest index in that subnet. Two
//     interfaces in one subnet are on one segment as a rule, and must not answer with two MACs. If addr lies in several
//     different subnets, each has its carrier. If all interfaces of these subnets are without a link, nobody carries
//     addr: it would do no good on another segment.
//  3. Else all eligible interfaces.
//
// Link-local prefixes are subnets for link-local addresses only: every interface has one.
func (s *Snapshot) Carriers(addr netip.Addr, allowed []string) ([]Interface, string) {
	if s == nil {
		return nil, "interfaces are not known yet"
	}
	if len(allowed) > 0 {
		return s.named(allowed)
	}
	if carriers, reason := s.inSubnet(addr); len(carriers) > 0 || reason != "" {
		return carriers, reason
	}
	var out []Interface
	for _, i := range s.able {
		if i.Eligible() {
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		return nil, "no interface is eligible"
	}
	return out, ""
}

// named returns the eligible interfaces of the given names.
func (s *Snapshot) named(names []string) ([]Interface, string) {
	var out []Interface
	reasons := make(map[string]Skip, len(names))
	for _, name := range names {
		reasons[name] = "no such interface"
	}
	for _, i := range s.all {
		if _, ok := reasons[i.Name]; !ok {
			continue
		}
		reasons[i.Name] = i.Skip
		if i.Eligible() {
			out = append(out, i)
		}
	}
	if len(out) > 0 {
		return out, ""
	}
	var why []string
	for _, name := range names {
		why = append(why, fmt.Sprintf("interface %s: %s", name, reasons[name]))
	}
	return nil, strings.Join(why, "; ")
}

// inSubnet returns one eligible interface for each subnet that contains addr. It returns a reason if there are such
// subnets but none with an eligible interface, and nothing at all if there are no such subnets.
func (s *Snapshot) inSubnet(addr netip.Addr) ([]Interface, string) {
	var out []Interface
	var served []netip.Prefix
	var without []string
	for k := range s.able {
		i := &s.able[k]
		for _, p := range i.Prefixes {
			switch {
			case !p.Contains(addr) || p.Addr().IsLinkLocalUnicast() && !addr.IsLinkLocalUnicast():
			case !i.Eligible():
				without = append(without, fmt.Sprintf("interface %s in its subnet: %s", i.Name, i.Skip))
			case !slices.Contains(served, p.Masked()):
				served = append(served, p.Masked())
				out = append(out, *i)
			}
		}
	}
	if len(out) > 0 {
		return slices.CompactFunc(out, Interface.equal), ""
	}
	return nil, strings.Join(slices.Compact(without), "; ")
}
