package speaker

import (
	"net/netip"
	"slices"

	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

// inputs is what this speaker sees of the world.
type inputs struct {
	services []kube.Service
	serving  func(service cache.ObjectName) kube.Serving
	nodes    map[string]kube.Node
	peers    []membership.Peer // live speakers, this one included
	pools    []config.Pool
	class    string // spec.loadBalancerClass to serve
	// ignoreExclude lets nodes announce that carry the label which excludes them.
	ignoreExclude bool
	// abilities are what nodes can carry, as they say; of those that don't, it is not known.
	abilities map[string]layer2.Abilities
}

// facts is what follows for the addresses.
type facts struct {
	addresses []election.Address                 // to be held by somebody, in the order of their addresses
	announce  map[netip.Addr]layer2.Announcement // how
	services  map[netip.Addr][]cache.ObjectName  // whose they are
	draining  map[string]bool
	live      map[string]bool // speakers
}

// gather works out which node may hold which address.
func gather(in inputs) facts {
	f := facts{
		announce: map[netip.Addr]layer2.Announcement{},
		services: map[netip.Addr][]cache.ObjectName{},
		draining: map[string]bool{},
		live:     map[string]bool{},
	}
	candidates := in.candidates()
	for _, p := range in.peers {
		f.live[p.Name] = true
		if p.Meta.Draining {
			f.draining[p.Name] = true
		}
	}
	eligible := map[netip.Addr][]string{}
	prefer := map[netip.Addr]string{}
	for _, svc := range in.services {
		if svc.Class != in.class {
			continue
		}
		for _, addr := range svc.Ingress {
			pool := poolOf(in.pools, addr)
			if pool == nil && svc.AllocatedFrom == "" {
				continue // in no pool, and not given by us either: somebody else's
			}
			f.services[addr] = append(f.services[addr], svc.Name)
			able := in.able(in.eligible(candidates, svc, pool), addr, announcement(pool))
			eligible[addr] = union(eligible[addr], able)
			if p := svc.AnnounceFrom; p != "" && (prefer[addr] == "" || p < prefer[addr]) {
				prefer[addr] = p // of several, the same on every node
			}
			f.announce[addr] = announcement(pool)
		}
	}
	for addr := range f.services {
		f.addresses = append(f.addresses, election.Address{Addr: addr, Eligible: eligible[addr], Prefer: prefer[addr]})
	}
	slices.SortFunc(f.addresses, func(a, b election.Address) int { return a.Addr.Compare(b.Addr) })
	return f
}

// candidates returns the nodes that may announce anything at all, sorted: a live speaker that is able to, on a node that
// is neither excluded nor without network.
func (in *inputs) candidates() []string {
	var names []string
	for _, p := range in.peers {
		node, known := in.nodes[p.Name]
		excluded := node.Excluded && !in.ignoreExclude
		if p.Meta.Announcing && (!known || !excluded && !node.NetworkUnavailable) {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// eligible returns the candidates that may announce an address of svc. A Service without a serving endpoint is announced
// by nobody; with externalTrafficPolicy Local only nodes with such an endpoint will do.
func (in *inputs) eligible(candidates []string, svc kube.Service, pool *config.Pool) []string {
	serving := in.serving(svc.Name)
	if !serving.Any {
		return nil
	}
	selected := pool != nil && len(pool.NodeSelectors) > 0
	if !svc.Local && !selected {
		return candidates
	}
	var names []string
	for _, name := range candidates {
		if svc.Local && !serving.Nodes[name] {
			continue
		}
		if selected && !pool.SelectsNode(in.nodes[name].Labels) {
			continue
		}
		names = append(names, name)
	}
	return names
}

// able returns those of nodes that can carry addr. If that is all of them, it is the same slice: then most addresses share
// one.
func (in *inputs) able(nodes []string, addr netip.Addr, how layer2.Announcement) []string {
	unable := func(node string) bool {
		abilities, known := in.abilities[node]
		return known && !abilities.CanCarry(addr, how.Interfaces)
	}
	if !slices.ContainsFunc(nodes, unable) {
		return nodes
	}
	return slices.DeleteFunc(slices.Clone(nodes), unable)
}

func poolOf(pools []config.Pool, addr netip.Addr) *config.Pool {
	for i := range pools {
		if pools[i].Contains(addr) {
			return &pools[i]
		}
	}
	return nil
}

func announcement(pool *config.Pool) layer2.Announcement {
	if pool == nil {
		return layer2.Announcement{}
	}
	return layer2.Announcement{Interfaces: pool.Interfaces}
}

// union merges two sorted sets; the result may share memory with either.
func union(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 || slices.Equal(a, b) {
		return a
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
