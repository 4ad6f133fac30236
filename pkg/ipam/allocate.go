package ipam

import (
	"net/netip"
	"slices"
)

// Allocate gives the Service what its request wants, and returns what it holds then.
//
// A Service that holds what it wants keeps exactly that, so the call can be repeated; ports, sharing key and back ends
// are brought up to date. If the request changed and can be met, the Service moves, all its families together. If the
// request can't be met, the error is of type *Refusal, no address is gained, and what the Service holds stays held and
// is returned. With Request.Partial the request is met as soon as one family is, unless that would cost the Service
// an address of another wanted family. The exception to all of this: an address that the Service may no longer share
// with the others on it is given up in any case.
//
// Addresses that were given up are in Allocation.Left and stay reserved until [Allocator.Confirm].
func (a *Allocator) Allocate(req Request) (Allocation, error) {
	req = req.normalised()
	s := &search{Allocator: a, req: &req, terms: req.terms(), service: a.service(&req)}
	defer a.forgetIfEmpty(s.service)
	refusal := s.run()
	alloc := s.service.allocation()
	alloc.Freed = s.freed
	switch {
	case refusal == nil:
		return alloc, nil
	case s.met:
		alloc.Missing = refusal
		return alloc, nil
	default:
		return alloc, refusal
	}
}

// A search finds the addresses for one request.
type search struct {
	*Allocator
	req     *Request
	terms   terms
	service *service
	targets [2]netip.Addr // what the Service shall hold, by family slot
	met     bool          // the request is met, at least as far as a Partial one needs
	freed   bool          // see Allocation.Freed
}

// run looks for a target in each family, moves the Service if the request is met, and returns why families are missing.
func (s *search) run() *Refusal {
	reasons := s.mistakes()
	if len(reasons) == 0 {
		for _, f := range s.req.Families {
			s.targets[f.slot()] = s.keep(f)
		}
		s.find()
		for _, f := range s.req.Families {
			if s.missing(f) {
				reasons = append(reasons, s.explain(f)...)
			}
		}
		s.met = s.enough()
	}
	if s.met {
		s.move()
	} else {
		s.stay()
	}
	if len(reasons) == 0 {
		return nil
	}
	return &Refusal{Service: s.req.Service, Reasons: unique(reasons)}
}

// mistakes returns what is wrong with the request whatever the pools are.
func (s *search) mistakes() []PoolRefusal {
	var reasons []PoolRefusal
	if len(s.req.Families) == 0 {
		reasons = append(reasons, PoolRefusal{Reason: ReasonNoFamilies})
	}
	var seen [2]bool
	for _, ip := range s.req.Addrs {
		f := FamilyOf(ip)
		switch {
		case !slices.Contains(s.req.Families, f):
			reasons = append(reasons, PoolRefusal{Addr: ip, Family: f, Reason: ReasonFamilyNotWanted})
		case seen[f.slot()]:
			reasons = append(reasons, PoolRefusal{Addr: ip, Family: f, Reason: ReasonFamilyTwice})
		}
		seen[f.slot()] = true
	}
	return reasons
}

// missing reports whether f, a wanted family, has no target.
func (s *search) missing(f Family) bool {
	return !s.targets[f.slot()].IsValid()
}

// enough reports whether the targets meet the request.
func (s *search) enough() bool {
	found := 0
	for _, f := range s.req.Families {
		switch {
		case !s.missing(f):
			found++
		case !s.req.Partial || s.holdsLegally(f):
			return false
		}
	}
	return found > 0
}

// holdsLegally reports whether the Service holds an address of family f on which it may stay.
func (s *search) holdsLegally(f Family) bool {
	return slices.ContainsFunc(s.service.uses, func(u *use) bool {
		return !u.leaving && FamilyOf(u.address.ip) == f && s.legal(u)
	})
}

// legal reports whether the Service may be on the address of u under its present terms.
func (s *search) legal(u *use) bool {
	return u.address.refuses(s.service.name, &s.terms) == nil
}

// keep returns the address of family f that the Service already has and that suits the request, or the zero Addr. What
// it holds comes before what it is leaving.
func (s *search) keep(f Family) netip.Addr {
	var kept *use
	for _, u := range s.service.uses {
		if FamilyOf(u.address.ip) != f || !s.legal(u) || !s.suits(u, f) {
			continue
		}
		if kept == nil || kept.leaving && !u.leaving {
			kept = u
		}
	}
	if kept == nil {
		return netip.Addr{}
	}
	return kept.address.ip
}

// suits reports whether the address of u is what the request wants. An address that came from the pool asked for suits
// even if the pool was edited since, and so does one in no pool of which nobody knows where it came from: only
// its user takes an address away.
func (s *search) suits(u *use, f Family) bool {
	pool := u.address.pool()
	asked, requested := s.req.Pool, s.req.requested(f)
	fromAsked := asked == "" || u.label == asked || pool == nil && u.label == "" || pool != nil && pool.Name == asked
	inAsked := pool != nil && (asked == "" || pool.Name == asked)
	switch {
	case requested.IsValid():
		return u.address.ip == requested && fromAsked
	case s.req.Reallocate:
		return inAsked && pool.Admits(s.req) == 0
	default:
		return fromAsked
	}
}

// find fills the targets that keep left open: requested addresses first, then from the pools.
func (s *search) find() {
	open := make([]Family, 0, 2)
	for _, f := range s.req.Families {
		if !s.missing(f) {
			continue
		}
		if ip := s.req.requested(f); !ip.IsValid() {
			open = append(open, f)
		} else if s.refuseAddr(ip).Reason == 0 {
			s.targets[f.slot()] = ip
		}
	}
	if len(open) == 2 && s.findBoth() {
		return
	}
	for _, f := range open {
		s.targets[f.slot()] = s.findOne(f)
	}
}

// findBoth fills both targets from the first pool that has both families.
func (s *search) findBoth() bool {
	for _, p := range s.candidates() {
		if !s.usable(p) {
			continue
		}
		v4, ok4 := p.family(IPv4).lowest(&s.terms)
		v6, ok6 := p.family(IPv6).lowest(&s.terms)
		if ok4 && ok6 {
			s.targets[IPv4.slot()], s.targets[IPv6.slot()] = v4, v6
			return true
		}
	}
	return false
}

// findOne returns an address of family f, from the pool of the Service's other address if that has one, else from the
// first pool that has one.
func (s *search) findOne(f Family) netip.Addr {
	sibling := s.locate(s.targets[1-f.slot()])
	if sibling != nil && s.usable(sibling.pool) && slices.Contains(s.candidates(), sibling.pool) {
		if ip, ok := sibling.pool.family(f).lowest(&s.terms); ok {
			return ip
		}
	}
	for _, p := range s.candidates() {
		if !s.usable(p) {
			continue
		}
		if ip, ok := p.family(f).lowest(&s.terms); ok {
			return ip
		}
	}
	return netip.Addr{}
}

// candidates returns the pools to look at: the one asked for, or all.
func (s *search) candidates() []*poolState {
	if s.req.Pool == "" {
		return s.pools
	}
	if p := s.byName[s.req.Pool]; p != nil {
		return []*poolState{p}
	}
	return nil
}

// usable reports whether the Service may have any free address of p, one of the candidates.
func (s *search) usable(p *poolState) bool {
	return (p.AutoAssign || s.req.Pool != "") && p.Admits(s.req) == 0
}

// refuseAddr returns why the Service can't have the requested address ip; Reason is 0 if it can.
func (s *search) refuseAddr(ip netip.Addr) PoolRefusal {
	refusal := PoolRefusal{Addr: ip, Namespace: s.req.Namespace, Requested: s.req.Pool}
	if asked := s.req.Pool; asked != "" && s.byName[asked] == nil {
		return PoolRefusal{Pool: asked, Reason: ReasonUnknownPool}
	}
	segment := s.locate(ip)
	if segment == nil {
		return s.refuseOutside(refusal)
	}
	refusal.Pool = segment.pool.Name
	if s.req.Pool != "" && s.req.Pool != refusal.Pool {
		refusal.Reason = ReasonOtherPool
		return refusal
	}
	if refusal.Reason = segment.pool.Admits(s.req); refusal.Reason != 0 {
		return refusal
	}
	if conflict := s.refuses(ip, s.service.name, &s.terms); conflict != nil {
		refusal.Reason, refusal.Conflict = conflict.Reason, *conflict
	}
	return refusal
}

// refuseOutside completes the refusal of an address that no pool gives.
func (s *search) refuseOutside(refusal PoolRefusal) PoolRefusal {
	refusal.Reason = ReasonNotInPool
	for _, p := range s.pools {
		contains := func(r Range) bool { return r.Contains(refusal.Addr) }
		if slices.ContainsFunc(p.Ranges, contains) {
			refusal.Pool, refusal.Reason = p.Name, ReasonAvoided
		}
	}
	return refusal
}

// explain returns why there is no target in family f: the requested address's reason, or each pool's.
func (s *search) explain(f Family) []PoolRefusal {
	if ip := s.req.requested(f); ip.IsValid() {
		return []PoolRefusal{s.refuseAddr(ip)}
	}
	pools := s.candidates()
	switch {
	case s.req.Pool != "" && len(pools) == 0:
		return []PoolRefusal{{Pool: s.req.Pool, Reason: ReasonUnknownPool}}
	case len(pools) == 0:
		return []PoolRefusal{{Reason: ReasonNoPools}}
	}
	reasons := make([]PoolRefusal, len(pools))
	for i, p := range pools {
		reasons[i] = s.refusePool(p, f)
	}
	return reasons
}

// refusePool returns why p gives no address of family f.
func (s *search) refusePool(p *poolState, f Family) PoolRefusal {
	refusal := PoolRefusal{Pool: p.Name}
	family := p.family(f)
	switch reason := p.Admits(s.req); {
	case reason == ReasonNotForNamespace:
		refusal.Reason, refusal.Namespace = reason, s.req.Namespace
	case reason != 0:
		refusal.Reason = reason
	case len(family.segments) == 0:
		refusal.Reason, refusal.Family = ReasonNoFamily, f
	case !s.usable(p):
		refusal.Reason = ReasonOnRequestOnly
	default:
		refusal.Reason, refusal.Family = ReasonExhausted, f
		refusal.InUse, refusal.Total = family.inUse, family.total
		refusal.OneFamily = len(p.families[1-f.slot()].segments) == 0
		refusal.Sharing = s.terms.key != ""
	}
	return refusal
}

// move makes the Service hold its targets and leave everything else.
func (s *search) move() {
	for _, u := range s.service.uses {
		u.leaving = !slices.Contains(s.targets[:], u.address.ip)
	}
	for _, f := range s.req.Families {
		if ip := s.targets[f.slot()]; ip.IsValid() {
			s.renewOrTake(ip)
		}
	}
}

// stay makes the Service leave the addresses on which it may not stay, and nothing else.
func (s *search) stay() {
	for _, u := range s.service.uses {
		switch {
		case u.leaving:
		case s.legal(u):
			s.renewOrTake(u.address.ip)
		default:
			u.leaving = true
		}
	}
}

// renewOrTake puts the Service on ip, and brings its terms there up to date.
func (s *search) renewOrTake(ip netip.Addr) {
	if u := s.service.on(ip); u != nil {
		u.leaving = false
		s.freed = u.renew(s.terms) || s.freed
		s.relabel(u)
		return
	}
	s.take(s.service, ip, s.terms)
}
