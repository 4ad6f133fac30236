package ipam

// Survey returns what each pool says to the Service now, in the order in which they are tried, for each wanted family apart where
// that makes a difference. Before them come addresses that are asked for and lie in none. Reason is 0 where the Service could have
// an address or holds one. Nothing changes.
func (a *Allocator) Survey(req Request) []PoolRefusal {
	req = req.normalised()
	s := &search{Allocator: a, req: &req, terms: req.terms(), service: a.services[req.Service]}
	if s.service == nil {
		s.service = &service{name: req.Service}
	}
	if out := s.mistakes(); len(out) > 0 {
		return out
	}
	var out []PoolRefusal
	for _, ip := range req.Addrs {
		if s.locate(ip) == nil { // no pool answers for it
			out = append(out, s.refuseAddr(ip))
		}
	}
	for _, p := range a.pools {
		out = append(out, s.surveyPool(p)...)
	}
	return out
}

// surveyPool returns what p says: once if it says the same to each family.
func (s *search) surveyPool(p *poolState) (out []PoolRefusal) {
	for _, f := range s.req.Families {
		r := s.surveyFamily(p, f)
		if r.Family == 0 && len(out) > 0 {
			continue
		}
		out = append(out, r)
	}
	return out
}

func (s *search) surveyFamily(p *poolState, f Family) PoolRefusal {
	asked := s.req.requested(f)
	segment := s.locate(asked)
	switch {
	case s.req.Pool != "" && s.req.Pool != p.Name:
		return PoolRefusal{Pool: p.Name, Reason: ReasonNotAskedFor, Requested: s.req.Pool}
	case s.holdsIn(p, f):
		return PoolRefusal{Pool: p.Name, Family: f}
	case asked.IsValid() && (segment == nil || segment.pool != p):
		return PoolRefusal{Pool: p.Name, Family: f, Reason: ReasonNotAskedFor, Requested: asked.String()}
	case asked.IsValid():
		return s.refuseAddr(asked)
	}
	if s.usable(p) {
		if _, ok := p.family(f).lowest(&s.terms); ok {
			return PoolRefusal{Pool: p.Name, Family: f}
		}
	}
	return s.refusePool(p, f)
}

// holdsIn reports whether the Service holds an address of family f of p.
func (s *search) holdsIn(p *poolState, f Family) bool {
	for _, u := range s.service.uses {
		if !u.leaving && u.address.pool() == p && FamilyOf(u.address.ip) == f {
			return true
		}
	}
	return false
}
