package speaker

import (
	"maps"
	"slices"

	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

// abilities returns what the interfaces of this node can carry of the pools, and of the addresses of Services that lie in
// none.
func (s *Speaker) abilities(in inputs) layer2.Abilities {
	var names []string
	var ranges []layer2.Range
	for _, p := range in.pools {
		names = append(names, p.Interfaces...)
		for _, r := range p.Ranges {
			ranges = append(ranges, layer2.Range{First: r.From, Last: r.To})
		}
	}
	for _, svc := range in.services {
		for _, a := range svc.Ingress {
			if poolOf(in.pools, a) == nil {
				ranges = append(ranges, layer2.Range{First: a, Last: a})
			}
		}
	}
	return s.announcer.Abilities(names, ranges)
}

// acquaintances remembers what the peers say of their interfaces. It belongs to the goroutine of work.
type acquaintances struct {
	carry map[string]string // as received, by node
	of    map[string]layer2.Abilities
}

func newAcquaintances() *acquaintances {
	return &acquaintances{carry: map[string]string{}, of: map[string]layer2.Abilities{}}
}

// meet takes in what members say, and forgets nodes that are neither members nor known to Kubernetes: one that is gone
// from sight may still be there, and its frames are no stranger's.
func (a *acquaintances) meet(members []membership.Peer, known func(node string) bool) {
	present := map[string]bool{}
	for _, p := range members {
		present[p.Name] = true
		if p.Meta.Carry == a.carry[p.Name] {
			continue
		}
		a.carry[p.Name] = p.Meta.Carry
		if abilities, err := layer2.ParseAbilities([]byte(p.Meta.Carry)); err == nil {
			a.of[p.Name] = abilities
		} else {
			delete(a.of, p.Name) // of another version
		}
	}
	gone := func(node string) bool { return !present[node] && !known(node) }
	maps.DeleteFunc(a.carry, func(node, _ string) bool { return gone(node) })
	maps.DeleteFunc(a.of, func(node string, _ layer2.Abilities) bool { return gone(node) })
}

// macs returns the nodes' MACs, this node's left out.
func (a *acquaintances) macs(self string) map[layer2.MAC]string {
	out := map[layer2.MAC]string{}
	for _, node := range slices.Sorted(maps.Keys(a.of)) {
		if node == self {
			continue
		}
		for _, mac := range a.of[node].MACs() {
			out[mac] = node
		}
	}
	return out
}
