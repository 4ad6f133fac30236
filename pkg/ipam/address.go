package ipam

import (
	"net/netip"
	"slices"
)

// A group is what Services must have in common to share an address. The zero group shares nothing.
type group struct {
	key, backend string
}

// terms are the conditions under which a Service shares an address.
type terms struct {
	group
	ports []Port // sorted, each once
}

// equal reports whether two terms are the same.
func (t *terms) equal(o *terms) bool {
	return t.group == o.group && slices.Equal(t.ports, o.ports)
}

// opens reports whether going from t to next makes something available to other Services: a port of an address
// that is shared, or the sharing of an address that wasn't shared in this way.
func (t *terms) opens(next *terms) bool {
	if next.key == "" {
		return false
	}
	dropped := func(p Port) bool { return !slices.Contains(next.ports, p) }
	return t.group != next.group || slices.ContainsFunc(t.ports, dropped)
}

// An address is an address in use. All its uses have the same group, and no two have a port in common if they share.
type address struct {
	ip      netip.Addr
	segment *segment // nil outside every pool
	offset  uint64
	indexed bool // in its segment's sets; false outside every pool and beyond their reach
	uses    []*use
	ports   map[Port]*use // nil unless the group has a key
	first   [1]*use       // room for uses, which mostly is one
}

// A use is one Service on one address.
type use struct {
	service *service
	address *address
	terms   terms
	label   string // see Allocation.Pools
	leaving bool   // given up, and reserved until the Service's status no longer shows it
}

// A service is a Service that holds or is leaving an address.
type service struct {
	name     string
	pool     string   // the pool last asked for
	families []Family // the families last asked for
	uses     []*use
	first    [2]*use // room for uses, which mostly are one or two
}

// on returns the Service's use of addr, or nil.
func (s *service) on(addr netip.Addr) *use {
	for _, u := range s.uses {
		if u.address.ip == addr {
			return u
		}
	}
	return nil
}

// pool returns the pool the address lies in, or nil.
func (a *address) pool() *poolState {
	if a.segment == nil {
		return nil
	}
	return a.segment.pool
}

// refuses returns why the Service named name can't be on the address under t, or nil if it can.
func (a *address) refuses(name string, t *terms) *Conflict {
	other := a.otherThan(name)
	if other == nil {
		return nil
	}
	theirs := other.terms.group
	switch {
	case t.key == "" || theirs.key == "":
		return &Conflict{Holder: other.service.name, Reason: ReasonNotShared}
	case t.key != theirs.key:
		return &Conflict{Holder: other.service.name, Reason: ReasonSharingKey}
	case t.backend != theirs.backend:
		return &Conflict{Holder: other.service.name, Reason: ReasonBackends}
	}
	for _, p := range t.ports {
		if u := a.ports[p]; u != nil && u.service.name != name {
			return &Conflict{Holder: u.service.name, Reason: ReasonPort, Port: p}
		}
	}
	return nil
}

// otherThan returns a use of another Service than the one named name, the one with the lowest name, or nil.
func (a *address) otherThan(name string) *use {
	var other *use
	for _, u := range a.uses {
		if u.service.name != name && (other == nil || u.service.name < other.service.name) {
			other = u
		}
	}
	return other
}

// enter puts the address, which has no uses, in the sets of its segment.
func (a *address) enter(s *segment) {
	a.segment = s
	if s == nil {
		return
	}
	s.pool.family(s.Family()).inUse++
	if a.offset, a.indexed = s.offset(a.ip); a.indexed {
		s.used.add(a.offset)
	}
}

// leave takes the address, which has no uses, out of the sets of its segment.
func (a *address) leave() {
	if a.segment == nil {
		return
	}
	f := a.segment.pool.family(a.segment.Family())
	f.inUse--
	if a.indexed {
		a.segment.used.remove(a.offset)
		f.open = min(f.open, a.segment.position)
	}
}

// attach adds a use, which refuses has nothing against.
func (a *address) attach(u *use) {
	first := len(a.uses) == 0
	a.uses = append(a.uses, u)
	if a.segment != nil {
		a.segment.pool.family(a.segment.Family()).services++
	}
	if u.terms.key == "" {
		return
	}
	if first {
		a.ports = make(map[Port]*use, len(u.terms.ports))
		if a.indexed {
			a.segment.addShared(u.terms.group, a.offset)
		}
	}
	for _, p := range u.terms.ports {
		a.ports[p] = u
		if a.indexed {
			a.segment.takePort(u.terms.group, a.offset, p)
		}
	}
}

// detach is the reverse of attach.
func (a *address) detach(u *use) {
	a.uses = slices.DeleteFunc(a.uses, func(o *use) bool { return o == u })
	if a.segment != nil {
		a.segment.pool.family(a.segment.Family()).services--
	}
	if u.terms.key == "" {
		return
	}
	for _, p := range u.terms.ports {
		delete(a.ports, p)
		if a.indexed {
			a.segment.freePort(u.terms.group, a.offset, p)
		}
	}
	if len(a.uses) == 0 {
		a.ports = nil
		if a.indexed {
			a.segment.removeShared(u.terms.group, a.offset)
		}
	}
}
