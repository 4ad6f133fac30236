package ipam

import (
	"cmp"
	"net/netip"
	"slices"
)

// A segment is one range of a pool with the addresses in use in it.
type segment struct {
	Range
	pool     *poolState
	position int        // among the pool's segments of the same family
	base     netip.Addr // what offsets count from; at or below From
	last     uint64     // the offset of To, or of the highest address that has one
	used     *bitset
	shares   map[group]*shareIndex
}

// A shareIndex finds an address to share. It holds offsets of one group's addresses in one segment.
type shareIndex struct {
	members *bitset
	byPort  map[Port]*bitset // the members on which the port is taken
}

// newSegment returns r as a segment without used addresses.
func newSegment(r Range, pool *poolState, position int) *segment {
	s := &segment{Range: r, pool: pool, position: position, base: r.From, shares: map[group]*shareIndex{}}
	masked := pool.AvoidBuggyIPs && r.Family() == IPv4
	if masked {
		s.base = alignDown(r.From)
	}
	last, ok := distance(s.base, r.To)
	if !ok {
		last = ^uint64(0) // nobody gets to the end of the first 2^64 addresses
	}
	s.last = last
	s.used = newBitset(last, masked)
	head, _ := distance(s.base, r.From)
	for n := range head {
		s.used.add(n) // belongs to somebody else
	}
	return s
}

// alignDown returns the IPv4 address with its last octet 0.
func alignDown(addr netip.Addr) netip.Addr {
	b := addr.As4()
	b[3] = 0
	return netip.AddrFrom4(b)
}

// buggy reports whether avoid-buggy-ips would leave out addr: some old equipment takes .0 and .255 for broadcast.
func buggy(addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	last := addr.As4()[3]
	return last == 0 || last == 255
}

// Capacity returns how many addresses of r can be given, math.MaxInt64 if there are more. With avoidBuggyIPs, IPv4
// addresses that end in .0 or .255 don't count.
func (r Range) Capacity(avoidBuggyIPs bool) uint64 {
	size := r.Size()
	if !avoidBuggyIPs || !r.From.Is4() {
		return size
	}
	below := func(n uint64) uint64 { return (n+255)/256 + n/256 } // buggy addresses lower than n
	_, from := halves(r.From)
	_, to := halves(r.To)
	return size - (below(to+1) - below(from))
}

// offset returns the offset of addr, which lies in the segment, and false if it is too far from the start to have one.
// Such addresses can be requested but are never chosen.
func (s *segment) offset(addr netip.Addr) (uint64, bool) {
	n, ok := distance(s.base, addr)
	return n, ok && n <= s.last
}

// lowest returns the lowest address that is free or that a Service of these terms may share.
func (s *segment) lowest(t *terms) (netip.Addr, bool) {
	n, ok := s.used.lowestFree()
	ok = ok && n <= s.last
	if shared, found := s.lowestShared(t); found && (!ok || shared < n) {
		n, ok = shared, true
	}
	if !ok {
		return netip.Addr{}, false
	}
	return advance(s.base, n), true
}

// lowestShared returns the offset of the lowest used address that a Service of these terms may share.
func (s *segment) lowestShared(t *terms) (uint64, bool) {
	index := s.shares[t.group]
	if t.key == "" || index == nil {
		return 0, false
	}
	taken := make([]*bitset, 0, 8)
	for _, p := range t.ports {
		if set := index.byPort[p]; set != nil {
			taken = append(taken, set)
		}
	}
	return index.members.lowestWithout(taken)
}

// shareIndex returns the index for g, which it makes if it isn't there.
func (s *segment) shareIndex(g group) *shareIndex {
	index := s.shares[g]
	if index == nil {
		index = &shareIndex{members: newBitset(s.last, false), byPort: map[Port]*bitset{}}
		s.shares[g] = index
	}
	return index
}

// takePort notes that p is taken on the address at offset n, which is a member of g.
func (s *segment) takePort(g group, n uint64, p Port) {
	index := s.shares[g]
	if index.byPort[p] == nil {
		index.byPort[p] = newBitset(s.last, false)
	}
	index.byPort[p].add(n)
}

// freePort is the reverse of takePort.
func (s *segment) freePort(g group, n uint64, p Port) {
	index := s.shares[g]
	index.byPort[p].remove(n)
	if index.byPort[p].count() == 0 {
		delete(index.byPort, p)
	}
}

// addShared notes that the address at offset n belongs to g.
func (s *segment) addShared(g group, n uint64) {
	s.shareIndex(g).members.add(n)
}

// removeShared is the reverse of addShared. All ports were freed.
func (s *segment) removeShared(g group, n uint64) {
	index := s.shares[g]
	index.members.remove(n)
	if index.members.count() == 0 {
		delete(s.shares, g)
	}
}

// A poolState is a pool with what is in use in it.
type poolState struct {
	Pool
	families [2]familyState
}

// A familyState is the addresses of one family of a pool.
type familyState struct {
	segments []*segment
	open     int // no segment before this one has a free address
	total    uint64
	inUse    uint64
	services int
}

// newPoolState returns a pool in which nothing is in use.
func newPoolState(pool Pool) *poolState {
	p := &poolState{Pool: pool}
	for _, r := range pool.Ranges {
		f := &p.families[r.Family().slot()]
		f.segments = append(f.segments, newSegment(r, p, len(f.segments)))
		f.total = saturate(f.total + r.Capacity(pool.AvoidBuggyIPs))
	}
	return p
}

// saturate caps a sum of two capacities.
func saturate(n uint64) uint64 {
	return min(n, 1<<63-1)
}

// family returns the addresses of f in the pool.
func (p *poolState) family(f Family) *familyState {
	return &p.families[f.slot()]
}

// owns reports whether addr, which lies in one of the pool's ranges, may be used.
func (p *poolState) owns(addr netip.Addr) bool {
	return !p.AvoidBuggyIPs || !buggy(addr)
}

// lowest returns the first address that a Service of these terms can have.
func (f *familyState) lowest(t *terms) (netip.Addr, bool) {
	start := f.open
	if t.key != "" {
		start = 0
	}
	for _, s := range f.segments[start:] {
		if addr, ok := s.lowest(t); ok {
			return addr, true
		}
		if s.position == f.open {
			f.open++
		}
	}
	return netip.Addr{}, false
}

// inOrder returns the pools in the order in which they are tried.
func inOrder(pools []*poolState) []*poolState {
	rank := func(p *poolState) (priority, restricted int) {
		priority = p.Priority
		if priority == 0 {
			priority = int(^uint(0) >> 1)
		}
		if !p.restricted() {
			restricted = 1
		}
		return priority, restricted
	}
	sorted := slices.Clone(pools)
	slices.SortStableFunc(sorted, func(a, b *poolState) int {
		ap, ar := rank(a)
		bp, br := rank(b)
		return cmp.Or(cmp.Compare(ap, bp), cmp.Compare(ar, br))
	})
	return sorted
}
