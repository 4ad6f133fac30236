package speaker

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/explain"
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
	n := len(in.services) // most have one address
	f := facts{
		addresses: make([]election.Address, 0, n),
		announce:  make(map[netip.Addr]layer2.Announcement, n),
		services:  make(map[netip.Addr][]cache.ObjectName, n),
		draining:  map[string]bool{},
		live:      map[string]bool{},
	}
	voters := in.electorate()
	for _, p := range in.peers {
		f.live[p.Name] = true
		if p.Meta.Draining {
			f.draining[p.Name] = true
		}
	}
	eligible := make(map[netip.Addr][]string, n)
	prefer := map[netip.Addr]string{}
	for c := range in.claimants() {
		addr := c.addr
		f.services[addr] = append(f.services[addr], c.service.Name)
		eligible[addr] = union(eligible[addr], in.eligible(voters, &c))
		if p := c.service.AnnounceFrom; p != "" && (prefer[addr] == "" || p < prefer[addr]) {
			prefer[addr] = p // of several, the same on every node
		}
		f.announce[addr] = announcement(c.pool)
	}
	for addr := range f.services {
		f.addresses = append(f.addresses, election.Address{Addr: addr, Eligible: eligible[addr], Prefer: prefer[addr]})
	}
	slices.SortFunc(f.addresses, func(a, b election.Address) int { return a.Addr.Compare(b.Addr) })
	return f
}

// claimants returns the addresses that Services show and that are ours, each as often as a Service shows it.
func (in *inputs) claimants() iter.Seq[claimant] {
	return func(yield func(claimant) bool) {
		for i := range in.services {
			svc := &in.services[i]
			if svc.Class != in.class || len(svc.Ingress) == 0 {
				continue
			}
			serving := in.serving(svc.Name)
			for _, addr := range svc.Ingress {
				pool := poolOf(in.pools, addr)
				if pool == nil && svc.AllocatedFrom == "" {
					continue // in no pool, and not given by us either: somebody else's
				}
				if !yield(claimant{addr, svc, serving, pool}) {
					return
				}
			}
		}
	}
}

// candidates returns the nodes that may announce anything at all, sorted.
func (in *inputs) candidates() []string {
	var names []string
	for _, p := range in.peers {
		if in.unfit(p) == explain.BarNone {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

// unfit returns why the node of a live speaker may announce nothing at all: the speaker is not able to, or the node is excluded
// or without network.
func (in *inputs) unfit(p membership.Peer) explain.Bar {
	node := in.nodes[p.Name] // if it is not known, nothing is held against it
	switch {
	case !p.Meta.Announcing:
		return explain.BarUnable
	case node.Excluded && !in.ignoreExclude:
		return explain.BarExcluded
	case node.NetworkUnavailable:
		return explain.BarNoNetwork
	}
	return explain.BarNone
}

// claimant is an address as one Service shows it.
type claimant struct {
	addr    netip.Addr
	service *kube.Service
	serving kube.Serving
	pool    *config.Pool // nil: it lies in none
}

// bar returns why a candidate may not announce the address. A Service without a serving endpoint is announced by nobody; with
// externalTrafficPolicy Local only nodes with such an endpoint will do.
func (in *inputs) bar(node string, c *claimant) explain.Bar {
	switch abilities, known := in.abilities[node]; {
	case !c.serving.Any:
		return explain.BarNoEndpoint
	case c.service.Local && !c.serving.Nodes[node]:
		return explain.BarNotLocal
	case c.pool != nil && len(c.pool.NodeSelectors) > 0 && !c.pool.SelectsNode(in.nodes[node].Labels):
		return explain.BarNotSelected
	case known && !abilities.CanCarry(c.addr, announcement(c.pool).Interfaces):
		return explain.BarNoInterface
	}
	return explain.BarNone
}

// electorate is the candidates, also in groups whose nodes can carry the same. There are thousands of addresses and hundreds of nodes,
// but few ways to be connected.
type electorate struct {
	all    []string   // sorted
	groups [][]string // each sorted
}

func (in *inputs) electorate() electorate {
	e := electorate{all: in.candidates()}
	for _, node := range e.all {
		i := slices.IndexFunc(e.groups, func(group []string) bool { return in.carrySame(group[0], node) })
		if i < 0 {
			e.groups = append(e.groups, []string{node})
		} else {
			e.groups[i] = append(e.groups[i], node)
		}
	}
	return e
}

func (in *inputs) carrySame(node, other string) bool {
	a, known := in.abilities[node]
	b, otherKnown := in.abilities[other]
	return known == otherKnown && a.CarriesSame(b)
}

// eligible returns the candidates that may announce the address. If that is all of them, or all of a group, it is the same slice: then
// most addresses share one.
func (in *inputs) eligible(e electorate, c *claimant) []string {
	barred := func(node string) bool { return in.bar(node, c) != explain.BarNone }
	switch {
	case !c.serving.Any:
		return nil
	case c.service.Local:
		return slices.DeleteFunc(slices.Sorted(maps.Keys(c.serving.Nodes)), func(node string) bool {
			_, candidate := slices.BinarySearch(e.all, node)
			return !candidate || barred(node)
		})
	case c.pool != nil && len(c.pool.NodeSelectors) > 0:
		return slices.DeleteFunc(slices.Clone(e.all), barred)
	}
	fit := slices.DeleteFunc(slices.Clone(e.groups), func(group []string) bool { return barred(group[0]) })
	switch len(fit) {
	case len(e.groups):
		return e.all
	case 1:
		return fit[0]
	}
	all := slices.Concat(fit...)
	slices.Sort(all)
	return all
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
