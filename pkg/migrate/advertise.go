package migrate

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/invar-lb/invar/pkg/config"
)

// selecting returns the advertisements that select a pool: those that name it or match its labels, or that do neither with
// any pool.
func selecting(ads []advertisement, p *sourcePool) []*advertisement {
	var out []*advertisement
	for i := range ads {
		s := &ads[i].spec
		all := len(s.IPAddressPools) == 0 && len(s.IPAddressPoolSelectors) == 0
		matches := func(sel selector) bool { return sel.ipam().Matches(p.Metadata.Labels) }
		if all || slices.Contains(s.IPAddressPools, p.Metadata.Name) || slices.ContainsFunc(s.IPAddressPoolSelectors, matches) {
			out = append(out, &ads[i])
		}
	}
	return out
}

// names returns the advertisements' names, with commas between them.
func names(ads []*advertisement) string {
	texts := make([]string, len(ads))
	for i, a := range ads {
		texts[i] = a.name()
	}
	return strings.Join(texts, ", ")
}

// merge carries over what the advertisements of a pool say together. MetalLB announces an address where any of them says so:
// on the nodes and interfaces of each. Invar has one set of nodes and one of interfaces for a pool, and announces on each of
// the one and each of the other; where that is more, it is a loss.
func (c *conversion) merge(p *sourcePool, ads []*advertisement, out *config.Pool) {
	for _, a := range ads {
		if len(a.spec.PreferredNodeSelectors) > 0 && string(a.spec.PreferredNodeSelectors) != "null" {
			c.lose(&a.object, "spec.preferredNodeSelectors",
				"not carried over to pool %s: annotate Services invar.io/announce-from with the node that they prefer", out.Name)
		}
	}
	ads = widest(ads)
	for _, a := range ads {
		if len(a.spec.ServiceSelectors) > 0 {
			c.lose(&a.object, "spec.serviceSelectors", "not carried over: Invar announces every Service that has an address of "+
				"pool %s; to keep others out of the pool, see its key service-selectors", out.Name)
		}
	}
	sameNodes, sameInterfaces := true, true
	for _, a := range ads[1:] {
		sameNodes = sameNodes && sameSet(a.spec.NodeSelectors, ads[0].spec.NodeSelectors)
		sameInterfaces = sameInterfaces && sameSet(a.spec.Interfaces, ads[0].spec.Interfaces)
	}
	out.NodeSelectors = selectors(union(ads, func(s *advertisementSpec) []selector { return s.NodeSelectors }))
	out.Interfaces = union(ads, func(s *advertisementSpec) []string { return s.Interfaces })
	if !sameNodes && !sameInterfaces {
		c.lose(&p.object, "", "%s have different interfaces on different nodes, which one pool of Invar can't have: it is "+
			"announced on %s of %s; make a pool of each if that is too much", names(ads), interfacesText(out), nodesText(out))
	}
}

// widest returns the advertisements that no other one covers, at least one.
func widest(ads []*advertisement) []*advertisement {
	var out []*advertisement
	for i, a := range ads {
		covered := false
		for j, b := range ads {
			// Of two that cover each other the first one stays.
			covered = covered || i != j && covers(&b.spec, &a.spec) && (j < i || !covers(&a.spec, &b.spec))
		}
		if !covered {
			out = append(out, a)
		}
	}
	return out
}

// covers reports whether wide announces everything that narrow does. Selectors are compared as they are written.
func covers(wide, narrow *advertisementSpec) bool {
	return includes(wide.NodeSelectors, narrow.NodeSelectors) &&
		includes(wide.Interfaces, narrow.Interfaces) &&
		includes(wide.ServiceSelectors, narrow.ServiceSelectors)
}

// includes reports whether the things in narrow are among those in wide, where an empty list stands for all things.
func includes[T any](wide, narrow []T) bool {
	if len(wide) == 0 {
		return true
	}
	return len(narrow) > 0 && !slices.ContainsFunc(narrow, func(x T) bool { return !contains(wide, x) })
}

// sameSet reports whether two lists have the same things, in whatever order.
func sameSet[T any](a, b []T) bool { return includes(a, b) && includes(b, a) }

func contains[T any](list []T, x T) bool {
	return slices.ContainsFunc(list, func(y T) bool { return reflect.DeepEqual(x, y) })
}

// union returns what the advertisements have in their lists, each thing once; nothing if one of the lists is empty, which stands
// for everything.
func union[T any](ads []*advertisement, list func(*advertisementSpec) []T) []T {
	var out []T
	for _, a := range ads {
		things := list(&a.spec)
		if len(things) == 0 {
			return nil
		}
		for _, x := range things {
			if !contains(out, x) {
				out = append(out, x)
			}
		}
	}
	return out
}

func interfacesText(p *config.Pool) string {
	if len(p.Interfaces) == 0 {
		return "all interfaces"
	}
	return fmt.Sprintf("interfaces %s", strings.Join(p.Interfaces, ", "))
}

func nodesText(p *config.Pool) string {
	if len(p.NodeSelectors) == 0 {
		return "all nodes"
	}
	return fmt.Sprintf("the nodes that one of its %d selectors matches", len(p.NodeSelectors))
}
