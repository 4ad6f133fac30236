package election

import (
	"cmp"
	"net/netip"
	"slices"
)

// Address is one address to be held by some node.
type Address struct {
	Addr netip.Addr
	// Eligible lists the nodes that may hold the address, sorted by name. Empty: nobody may, and Plan leaves it out.
	// Addresses with the same candidates may share one slice.
	Eligible []string
	// Prefer names the node that its user wants to hold it; empty: no wish.
	Prefer string
}

// Plan returns the node that should hold each address. draining lists the nodes that are about to leave. Both addrs
// and what they refer to are only read. Neither the order of addrs nor anything but the arguments has an influence.
func Plan(addrs []Address, draining map[string]bool, claims Claims) map[netip.Addr]string {
	p := planner{
		draining: draining,
		plan:     make(map[netip.Addr]string, len(addrs)),
		load:     map[string]int{},
	}
	var free []Address
	for _, a := range addrs {
		if node := p.keeper(a, claims); node != "" {
			p.give(a.Addr, node)
		} else if len(a.Eligible) > 0 {
			free = append(free, a)
		}
	}
	slices.SortFunc(free, func(a, b Address) int { return a.Addr.Compare(b.Addr) })
	for _, a := range free {
		p.give(a.Addr, p.leastLoaded(a))
	}
	return p.plan
}

// planner is one run of Plan.
type planner struct {
	draining map[string]bool
	plan     map[netip.Addr]string
	load     map[string]int // addresses given to each node so far
}

func (p *planner) give(addr netip.Addr, node string) {
	p.plan[addr] = node
	p.load[node]++
}

// keeper returns the node whose right to a comes before balance: the preferred one, else the holder.
func (p *planner) keeper(a Address, claims Claims) string {
	for _, node := range []string{a.Prefer, claims[a.Addr].Node} {
		if node == "" || p.draining[node] {
			continue
		}
		if _, ok := slices.BinarySearch(a.Eligible, node); ok {
			return node
		}
	}
	return ""
}

// leastLoaded returns the eligible node with the fewest addresses, the address's own ranking deciding between equals.
// A draining node is only taken if there is no other.
func (p *planner) leastLoaded(a Address) string {
	best, least, place := "", burden{}, uint64(0)
	ranks := ranking(a.Addr) // hashed once, as is each node: there may be hundreds of them for each of thousands of addresses
	for _, node := range a.Eligible {
		b := burden{draining: p.draining[node], load: p.load[node]}
		if best != "" && !b.lighter(least) && b != least {
			continue
		}
		rank := ranks.of(node)
		if best == "" || b.lighter(least) || cmp.Or(cmp.Compare(rank, place), cmp.Compare(node, best)) < 0 {
			best, least, place = node, b, rank
		}
	}
	return best
}

// burden is what speaks against giving a node another address.
type burden struct {
	draining bool
	load     int
}

func (b burden) lighter(than burden) bool {
	if b.draining != than.draining {
		return than.draining
	}
	return b.load < than.load
}
