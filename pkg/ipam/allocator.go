package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
)

// An Allocator knows which Service holds which address and finds addresses for others. It is not safe for concurrent
// use. The package comment shows how to drive it.
type Allocator struct {
	configured []*poolState // in the order given
	pools      []*poolState // in the order in which they are tried
	byName     map[string]*poolState
	segments   []*segment // sorted by address
	addresses  map[netip.Addr]*address
	services   map[string]*service
}

// PoolUsage is how much of one family of a pool is in use.
type PoolUsage struct {
	Pool     string
	Family   Family
	Total    uint64 // addresses that can be given; math.MaxInt64 if there are more
	InUse    uint64 // addresses held, or left and not yet confirmed
	Services int    // Services on these addresses; those that share an address count each
}

// New returns an Allocator without pools, in which nothing is held.
func New() *Allocator {
	return &Allocator{
		byName:    map[string]*poolState{},
		addresses: map[netip.Addr]*address{},
		services:  map[string]*service{},
	}
}

// SetPools replaces the pools, whose slices and maps the caller leaves alone from then on. Every held address stays
// held, also if it lies in none of the new pools. The error is about pools that no checked configuration has (an empty
// or repeated name, an invalid range, ranges that overlap); the former pools then stay.
func (a *Allocator) SetPools(pools []Pool) error {
	configured, segments, err := buildPools(pools)
	if err != nil {
		return fmt.Errorf("set pools: %w", err)
	}
	a.configured, a.pools, a.segments = configured, inOrder(configured), segments
	a.byName = make(map[string]*poolState, len(configured))
	for _, p := range configured {
		a.byName[p.Name] = p
	}
	for _, addr := range a.addresses {
		a.rehome(addr)
	}
	return nil
}

// buildPools returns the state of pools in which nothing is in use, and their segments sorted by address.
func buildPools(pools []Pool) ([]*poolState, []*segment, error) {
	states := make([]*poolState, len(pools))
	var segments []*segment
	names := make(map[string]bool, len(pools))
	for i, pool := range pools {
		if pool.Name == "" || names[pool.Name] {
			return nil, nil, fmt.Errorf("check pool %q: the name is empty or used twice", pool.Name)
		}
		names[pool.Name] = true
		for _, r := range pool.Ranges {
			if !r.valid() {
				return nil, nil, fmt.Errorf("check pool %q: range %s is invalid", pool.Name, r)
			}
		}
		states[i] = newPoolState(pool)
		segments = slices.Concat(segments, states[i].families[0].segments, states[i].families[1].segments)
	}
	slices.SortFunc(segments, func(a, b *segment) int { return a.From.Compare(b.From) })
	for i := 1; i < len(segments); i++ {
		if before, s := segments[i-1], segments[i]; before.Overlaps(s.Range) {
			return nil, nil, fmt.Errorf("check pool %q: range %s overlaps %s of pool %q",
				s.pool.Name, s, before, before.pool.Name)
		}
	}
	return states, segments, nil
}

// rehome moves a held address from the sets of the former pools, which are gone, to those of the pools now.
func (a *Allocator) rehome(addr *address) {
	uses := addr.uses
	addr.uses, addr.ports, addr.indexed = nil, nil, false
	addr.enter(a.locate(addr.ip))
	for _, u := range uses {
		addr.attach(u)
		a.relabel(u)
	}
}

// relabel sets the pool that a use is said to come from. If its user asked for the pool it came from, an edit of
// the pools doesn't change that; otherwise the pool the address lies in now counts.
func (a *Allocator) relabel(u *use) {
	asked := u.label != "" && u.label == u.service.pool
	if pool := u.address.pool(); pool != nil && !asked {
		u.label = pool.Name
	}
}

// locate returns the segment that addr lies in, or nil.
func (a *Allocator) locate(addr netip.Addr) *segment {
	i := sort.Search(len(a.segments), func(i int) bool { return addr.Less(a.segments[i].From) })
	if i == 0 {
		return nil
	}
	s := a.segments[i-1]
	if !s.Contains(addr) || !s.pool.owns(addr) {
		return nil
	}
	return s
}

// Adopt records that the Service has addrs, as its status says, whether or not they lie in a pool and suit the request.
// Each address that another Service holds is left out, if the sharing rules don't let both have it, and reported in a
// *ConflictError (joined with errors.Join if there are several). Addresses that the Service holds already stay as well.
// Whether the addresses are what the request wants is for the next Allocate to see.
func (a *Allocator) Adopt(req Request, addrs []netip.Addr) error {
	req = req.normalised()
	t := req.terms()
	svc := a.service(&req)
	var errs []error
	for i, ip := range addrs {
		ip = normal(ip)
		if !ip.IsValid() {
			continue
		}
		if conflict := a.refuses(ip, req.Service, &t); conflict != nil {
			errs = append(errs, &ConflictError{Service: req.Service, Addr: ip, Conflict: *conflict})
			continue
		}
		u := a.take(svc, ip, t)
		u.label = adoptedLabel(&req, i)
		a.relabel(u)
	}
	a.forgetIfEmpty(svc)
	return errors.Join(errs...)
}

// adoptedLabel returns the pool that the request says its i-th adopted address came from, or "".
func adoptedLabel(req *Request, i int) string {
	switch {
	case len(req.FromPools) == 1:
		return req.FromPools[0]
	case i < len(req.FromPools):
		return req.FromPools[i]
	default:
		return ""
	}
}

// service returns the record of the request's Service with the request's wishes noted.
func (a *Allocator) service(req *Request) *service {
	svc := a.services[req.Service]
	if svc == nil {
		svc = &service{name: req.Service}
		svc.uses = svc.first[:0]
		a.services[req.Service] = svc
	}
	svc.pool, svc.families = req.Pool, req.Families
	return svc
}

// forgetIfEmpty drops the record of a Service that is on no address.
func (a *Allocator) forgetIfEmpty(svc *service) {
	if len(svc.uses) == 0 {
		delete(a.services, svc.name)
	}
}

// refuses returns why the Service named name can't be on ip under t, or nil if it can.
func (a *Allocator) refuses(ip netip.Addr, name string, t *terms) *Conflict {
	if addr := a.addresses[ip]; addr != nil {
		return addr.refuses(name, t)
	}
	return nil
}

// take puts the Service on ip under t, to which nothing stands against, and returns the use. If the Service was on it
// or was leaving it already, the use is renewed.
func (a *Allocator) take(svc *service, ip netip.Addr, t terms) *use {
	if u := svc.on(ip); u != nil {
		u.leaving = false
		u.renew(t)
		return u
	}
	addr := a.addresses[ip]
	if addr == nil {
		addr = &address{ip: ip}
		addr.uses = addr.first[:0]
		addr.enter(a.locate(ip))
		a.addresses[ip] = addr
	}
	u := &use{service: svc, address: addr, terms: t}
	addr.attach(u)
	svc.uses = append(svc.uses, u)
	if pool := addr.pool(); pool != nil {
		u.label = pool.Name
	}
	return u
}

// renew changes the terms of a use, to which nothing stands against, and reports whether that opens something to
// others.
func (u *use) renew(t terms) bool {
	if u.terms.equal(&t) {
		return false
	}
	opens := u.terms.opens(&t)
	u.address.detach(u)
	u.terms = t
	u.address.attach(u)
	return opens
}

// drop takes a Service off an address.
func (a *Allocator) drop(u *use) {
	u.address.detach(u)
	u.service.uses = slices.DeleteFunc(u.service.uses, func(o *use) bool { return o == u })
	if len(u.address.uses) == 0 {
		u.address.leave()
		delete(a.addresses, u.address.ip)
	}
}

// Confirm tells that the Service's status now shows exactly addrs. Addresses that the Service gave up and that aren't
// among them come free. It reports whether any did. A Service that the Allocator doesn't know frees nothing.
func (a *Allocator) Confirm(service string, addrs []netip.Addr) bool {
	svc := a.services[service]
	if svc == nil {
		return false
	}
	shown := make([]netip.Addr, len(addrs))
	for i, addr := range addrs {
		shown[i] = normal(addr)
	}
	freed := false
	for _, u := range slices.Clone(svc.uses) {
		if u.leaving && !slices.Contains(shown, u.address.ip) {
			a.drop(u)
			freed = true
		}
	}
	a.forgetIfEmpty(svc)
	return freed
}

// Release takes everything from the Service, also what it was leaving, and reports whether there was anything.
func (a *Allocator) Release(service string) bool {
	svc := a.services[service]
	if svc == nil {
		return false
	}
	for len(svc.uses) > 0 {
		a.drop(svc.uses[0])
	}
	delete(a.services, service)
	return true
}

// Held returns what the Service holds, and false if it holds nothing. Freed and Missing aren't set.
func (a *Allocator) Held(service string) (Allocation, bool) {
	svc := a.services[service]
	if svc == nil {
		return Allocation{}, false
	}
	alloc := svc.allocation()
	return alloc, len(alloc.Addrs) > 0
}

// allocation returns what the Service holds and is leaving.
func (s *service) allocation() Allocation {
	alloc := Allocation{Addrs: make([]netip.Addr, 0, len(s.uses)), Pools: make([]string, 0, len(s.uses))}
	for _, f := range s.families {
		s.list(&alloc, func(u *use) bool { return !u.leaving && FamilyOf(u.address.ip) == f })
	}
	s.list(&alloc, func(u *use) bool { return !u.leaving && !slices.Contains(s.families, FamilyOf(u.address.ip)) })
	for _, u := range s.uses {
		if u.leaving {
			alloc.Left = append(alloc.Left, u.address.ip)
		}
	}
	return alloc
}

// list adds the uses of which is true to what alloc says is held.
func (s *service) list(alloc *Allocation, which func(*use) bool) {
	for _, u := range s.uses {
		if !which(u) {
			continue
		}
		alloc.Addrs = append(alloc.Addrs, u.address.ip)
		alloc.Pools = append(alloc.Pools, u.label)
		if u.address.segment == nil {
			alloc.Stranded = append(alloc.Stranded, u.address.ip)
		}
	}
}

// Holders returns the Services that hold addr or have left it unconfirmed, sorted.
func (a *Allocator) Holders(addr netip.Addr) []string {
	held := a.addresses[normal(addr)]
	if held == nil {
		return nil
	}
	names := make([]string, len(held.uses))
	for i, u := range held.uses {
		names[i] = u.service.name
	}
	slices.Sort(names)
	return names
}

// Usage returns how full the pools are, in the order of the configuration, IPv4 before IPv6. A family of which a
// pool has no address is left out.
func (a *Allocator) Usage() []PoolUsage {
	var usage []PoolUsage
	for _, p := range a.configured {
		for _, family := range []Family{IPv4, IPv6} {
			f := p.family(family)
			if len(f.segments) == 0 {
				continue
			}
			usage = append(usage, PoolUsage{
				Pool: p.Name, Family: family, Total: f.total, InUse: f.inUse, Services: f.services,
			})
		}
	}
	return usage
}

// Stranded returns the held addresses that lie in no pool, by Service, in address order.
func (a *Allocator) Stranded() map[string][]netip.Addr {
	stranded := map[string][]netip.Addr{}
	for ip, addr := range a.addresses {
		if addr.segment != nil {
			continue
		}
		for _, u := range addr.uses {
			if !u.leaving {
				stranded[u.service.name] = append(stranded[u.service.name], ip)
			}
		}
	}
	for _, ips := range stranded {
		slices.SortFunc(ips, netip.Addr.Compare)
	}
	return stranded
}
