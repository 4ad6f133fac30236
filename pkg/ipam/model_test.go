package ipam_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/invar-lb/invar/pkg/ipam"
)

// A model is a slow and obvious twin of the Allocator: a list of who is where, searched from end to end for everything.
type model struct {
	pools  []ipam.Pool
	uses   []modelUse
	wishes map[string]ipam.Request // the last request of each Service
}

// A modelUse is one Service on one address.
type modelUse struct {
	service string
	addr    netip.Addr
	req     ipam.Request // whose ports and keys hold here
	label   string
	leaving bool
}

func newModel() *model {
	return &model{wishes: map[string]ipam.Request{}}
}

// clone returns a model that can be changed without changing m.
func (m *model) clone() *model {
	c := &model{pools: m.pools, uses: slices.Clone(m.uses), wishes: map[string]ipam.Request{}}
	for name, req := range m.wishes {
		c.wishes[name] = req
	}
	return c
}

// addrsOf lists the addresses of family f that a pool can give, in order.
func addrsOf(p ipam.Pool, f ipam.Family) []netip.Addr {
	var addrs []netip.Addr
	for _, r := range p.Ranges {
		if r.Family() != f {
			continue
		}
		for a := r.From; ; a = a.Next() {
			if b := a.AsSlice(); f == ipam.IPv6 || !p.AvoidBuggyIPs || b[3] != 0 && b[3] != 255 {
				addrs = append(addrs, a)
			}
			if a == r.To {
				break
			}
		}
	}
	return addrs
}

// poolOf returns the pool that gives addr, or nil.
func (m *model) poolOf(addr netip.Addr) *ipam.Pool {
	for i, p := range m.pools {
		if slices.Contains(addrsOf(p, ipam.FamilyOf(addr)), addr) {
			return &m.pools[i]
		}
	}
	return nil
}

// ordered returns the pools as they are tried: one pass for each rank.
func (m *model) ordered() []ipam.Pool {
	var out []ipam.Pool
	for prio := 1; prio <= 10; prio++ {
		for _, everyone := range []bool{false, true} {
			for _, p := range m.pools {
				forAll := len(p.Namespaces)+len(p.NamespaceSelectors)+len(p.ServiceSelectors) == 0
				if forAll == everyone && (p.Priority == prio || p.Priority == 0 && prio == 10) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// conflict returns the words for why req can't be on addr, or "".
func (m *model) conflict(req ipam.Request, addr netip.Addr) string {
	var others []modelUse
	for _, u := range m.uses {
		if u.addr == addr && u.service != req.Service {
			others = append(others, u)
		}
	}
	slices.SortFunc(others, func(a, b modelUse) int { return strings.Compare(a.service, b.service) })
	for _, u := range others {
		switch {
		case req.SharingKey == "" || u.req.SharingKey == "":
			return fmt.Sprintf("in use by %s, not shared", u.service)
		case req.SharingKey != u.req.SharingKey:
			return fmt.Sprintf("in use by %s, whose sharing key differs", u.service)
		case req.BackendKey != u.req.BackendKey:
			return fmt.Sprintf("in use by %s, whose external traffic policy or selector differs", u.service)
		}
	}
	for _, p := range sortedPorts(req) {
		for _, u := range others {
			if slices.Contains(u.req.Ports, p) {
				return fmt.Sprintf("port %s is in use by %s", p, u.service)
			}
		}
	}
	return ""
}

// sortedPorts returns the ports in the order in which conflicts are reported.
func sortedPorts(req ipam.Request) []ipam.Port {
	ports := slices.Clone(req.Ports)
	slices.SortFunc(ports, func(a, b ipam.Port) int {
		if c := strings.Compare(a.Protocol, b.Protocol); c != 0 {
			return c
		}
		return int(a.Port) - int(b.Port)
	})
	return ports
}

// suits says whether the Service may keep u's address, as far as its own wishes go.
func (m *model) suits(req ipam.Request, u modelUse) bool {
	p := m.poolOf(u.addr)
	asked := req.Pool == "" || u.label == req.Pool || p == nil && u.label == "" || p != nil && p.Name == req.Pool
	for _, want := range req.Addrs {
		if ipam.FamilyOf(want) == ipam.FamilyOf(u.addr) {
			return want == u.addr && asked
		}
	}
	if req.Reallocate {
		return p != nil && (req.Pool == "" || p.Name == req.Pool) && p.Admits(&req) == 0
	}
	return asked
}

// free lists the addresses of p that req could have, lowest first.
func (m *model) free(req ipam.Request, p ipam.Pool, f ipam.Family) []netip.Addr {
	if p.Admits(&req) != 0 || !p.AutoAssign && req.Pool == "" || req.Pool != "" && req.Pool != p.Name {
		return nil
	}
	var free []netip.Addr
	for _, addr := range addrsOf(p, f) {
		own := slices.ContainsFunc(m.uses, func(u modelUse) bool {
			// What the Service has there already is no news: it was considered before, or is in the way of itself.
			return u.addr == addr && u.service == req.Service && !mayShare(u.req, req)
		})
		if !own && m.conflict(req, addr) == "" {
			free = append(free, addr)
		}
	}
	return free
}

// refusedAddr returns the words for why req can't have the requested addr, or "".
func (m *model) refusedAddr(req ipam.Request, addr netip.Addr) string {
	if req.Pool != "" && !slices.ContainsFunc(m.pools, func(p ipam.Pool) bool { return p.Name == req.Pool }) {
		return fmt.Sprintf("pool %s: not configured", req.Pool)
	}
	text := fmt.Sprintf("address %s: ", addr)
	p := m.poolOf(addr)
	if p == nil {
		for _, q := range m.pools {
			for _, r := range q.Ranges {
				if r.Contains(addr) {
					return text + fmt.Sprintf("avoided by pool %s (avoid-buggy-ips)", q.Name)
				}
			}
		}
		return text + "in no pool"
	}
	if req.Pool != "" && p.Name != req.Pool {
		return text + fmt.Sprintf("in pool %s, not in the requested pool %s", p.Name, req.Pool)
	}
	if s := m.notAdmitted(req, *p); s != "" {
		return text + "pool " + p.Name + ": " + s
	}
	if s := m.conflict(req, addr); s != "" {
		return text + s
	}
	return ""
}

// notAdmitted returns the words for why p is not for req, or "".
func (m *model) notAdmitted(req ipam.Request, p ipam.Pool) string {
	switch p.Admits(&req) {
	case 0:
		return ""
	case ipam.ReasonNotForNamespace:
		return "not for namespace " + req.Namespace
	default:
		return "not for a Service with these labels"
	}
}

// refusedPools returns the words of each pool that doesn't give family f to req.
func (m *model) refusedPools(req ipam.Request, f ipam.Family) []string {
	var texts []string
	for _, p := range m.ordered() {
		if req.Pool != "" && req.Pool != p.Name {
			continue
		}
		all, other := addrsOf(p, f), addrsOf(p, ipam.IPv4+ipam.IPv6-f)
		text := m.notAdmitted(req, p)
		switch {
		case text != "":
		case len(all) == 0:
			text = fmt.Sprintf("no %s addresses", f)
		case !p.AutoAssign && req.Pool == "":
			text = "only on request (auto-assign: false)"
		default:
			used := slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return len(m.holders(a)) == 0 })
			family := ""
			if len(other) > 0 {
				family = f.String() + " "
			}
			text = fmt.Sprintf("%d of %d %saddresses in use", len(used), len(all), family)
			if req.SharingKey != "" {
				text += ", none that it may share"
			}
		}
		texts = append(texts, "pool "+p.Name+": "+text)
	}
	switch {
	case len(texts) == 0 && req.Pool != "":
		return []string{fmt.Sprintf("pool %s: not configured", req.Pool)}
	case len(texts) == 0:
		return []string{"no address pool is configured"}
	}
	return texts
}

// pinned returns the requested address of family f, or the zero Addr.
func pinned(req ipam.Request, f ipam.Family) netip.Addr {
	for _, a := range req.Addrs {
		if ipam.FamilyOf(a) == f {
			return a
		}
	}
	return netip.Addr{}
}

// targets returns an address for each wanted family that can have one.
func (m *model) targets(req ipam.Request) map[ipam.Family]netip.Addr {
	t := map[ipam.Family]netip.Addr{}
	var open []ipam.Family
	for _, f := range req.Families {
		for _, leaving := range []bool{false, true} {
			for _, u := range m.uses {
				mine := u.service == req.Service && ipam.FamilyOf(u.addr) == f && u.leaving == leaving
				if _, done := t[f]; mine && !done && m.conflict(req, u.addr) == "" && m.suits(req, u) {
					t[f] = u.addr
				}
			}
		}
		_, done := t[f]
		switch want := pinned(req, f); {
		case done:
		case want.IsValid():
			if m.refusedAddr(req, want) == "" {
				t[f] = want
			}
		default:
			open = append(open, f)
		}
	}
	for _, p := range m.ordered() { // both from one pool
		v4, v6 := m.free(req, p, ipam.IPv4), m.free(req, p, ipam.IPv6)
		if len(open) == 2 && len(v4) > 0 && len(v6) > 0 {
			t[ipam.IPv4], t[ipam.IPv6], open = v4[0], v6[0], nil
		}
	}
	for _, f := range open {
		pools := m.ordered()
		if sibling, ok := t[ipam.IPv4+ipam.IPv6-f]; ok && m.poolOf(sibling) != nil {
			pools = slices.Insert(pools, 0, *m.poolOf(sibling))
		}
		for _, p := range pools {
			if free := m.free(req, p, f); len(free) > 0 {
				t[f] = free[0]
				break
			}
		}
	}
	return t
}

// mistakes returns the words for what is wrong with req whatever the pools are.
func mistakes(req ipam.Request) []string {
	var texts []string
	seen := map[ipam.Family]bool{}
	for _, a := range req.Addrs {
		f := ipam.FamilyOf(a)
		switch {
		case !slices.Contains(req.Families, f):
			texts = append(texts, fmt.Sprintf("address %s: the Service has no %s", a, f))
		case seen[f]:
			texts = append(texts, fmt.Sprintf("address %s: a second %s address is requested", a, f))
		}
		seen[f] = true
	}
	return texts
}

// allocate does what Allocator.Allocate does; text is that of the refusal, or of what is missing if met.
func (m *model) allocate(req ipam.Request) (alloc ipam.Allocation, met bool, text string) {
	m.wishes[req.Service] = req
	texts := mistakes(req)
	var t map[ipam.Family]netip.Addr
	if len(texts) == 0 {
		t = m.targets(req)
		met = len(t) == len(req.Families) || req.Partial && len(t) > 0
		for _, f := range req.Families {
			if _, ok := t[f]; ok {
				continue
			}
			for _, u := range m.uses {
				if u.service == req.Service && !u.leaving && ipam.FamilyOf(u.addr) == f && m.conflict(req, u.addr) == "" {
					met = false // it would cost an address
				}
			}
			if want := pinned(req, f); want.IsValid() {
				texts = append(texts, m.refusedAddr(req, want))
			} else {
				texts = append(texts, m.refusedPools(req, f)...)
			}
		}
	}
	freed := m.settle(req, t, met)
	alloc = m.held(req.Service)
	alloc.Freed = freed
	return alloc, met, strings.Join(once(texts), "; ")
}

// once returns texts without repetitions.
func once(texts []string) []string {
	var out []string
	for _, t := range texts {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

// settle puts the Service on its targets if the request is met, and off what it may not share, and says whether that
// opens something to others.
func (m *model) settle(req ipam.Request, t map[ipam.Family]netip.Addr, met bool) bool {
	freed := false
	for i := range m.uses {
		u := &m.uses[i]
		if u.service != req.Service {
			continue
		}
		stays := !u.leaving && m.conflict(req, u.addr) == ""
		if met {
			stays = t[ipam.FamilyOf(u.addr)] == u.addr
		}
		u.leaving = !stays
		if stays {
			freed = opens(u.req, req) || freed
			u.req = req
			u.label = m.label(*u)
		}
	}
	for _, f := range req.Families {
		if addr, ok := t[f]; ok && met && !slices.Contains(m.holders(addr), req.Service) {
			m.uses = append(m.uses, modelUse{service: req.Service, addr: addr, req: req, label: m.poolOf(addr).Name})
		}
	}
	return freed
}

// opens says whether Services that wait could gain from the change of a holder's ports and keys.
func opens(was, is ipam.Request) bool {
	if is.SharingKey == "" {
		return false
	}
	for _, p := range was.Ports {
		if !slices.Contains(is.Ports, p) {
			return true
		}
	}
	return was.SharingKey != is.SharingKey || was.BackendKey != is.BackendKey
}

// label returns the pool that u is said to come from.
func (m *model) label(u modelUse) string {
	p := m.poolOf(u.addr)
	if p == nil || u.label != "" && u.label == m.wishes[u.service].Pool {
		return u.label
	}
	return p.Name
}

// setPools does what Allocator.SetPools does.
func (m *model) setPools(pools []ipam.Pool) {
	m.pools = pools
	for i := range m.uses {
		m.uses[i].label = m.label(m.uses[i])
	}
}

// adopt does what Allocator.Adopt does, and returns the words for each address that was refused.
func (m *model) adopt(req ipam.Request, addrs []netip.Addr) []string {
	m.wishes[req.Service] = req
	var refused []string
	for i, addr := range addrs {
		if s := m.conflict(req, addr); s != "" {
			refused = append(refused, fmt.Sprintf("adopt %s for %s: %s", addr, req.Service, s))
			continue
		}
		m.uses = slices.DeleteFunc(m.uses, func(u modelUse) bool { return u.service == req.Service && u.addr == addr })
		u := modelUse{service: req.Service, addr: addr, req: req}
		if i < len(req.FromPools) {
			u.label = req.FromPools[i]
		}
		u.label = m.label(u)
		m.uses = append(m.uses, u)
	}
	return refused
}

// confirm does what Allocator.Confirm does.
func (m *model) confirm(service string, addrs []netip.Addr) bool {
	before := len(m.uses)
	m.uses = slices.DeleteFunc(m.uses, func(u modelUse) bool {
		return u.service == service && u.leaving && !slices.Contains(addrs, u.addr)
	})
	return len(m.uses) < before
}

// release does what Allocator.Release does.
func (m *model) release(service string) bool {
	before := len(m.uses)
	m.uses = slices.DeleteFunc(m.uses, func(u modelUse) bool { return u.service == service })
	return len(m.uses) < before
}

// held does what Allocator.Held does.
func (m *model) held(service string) ipam.Allocation {
	alloc := ipam.Allocation{Addrs: []netip.Addr{}, Pools: []string{}}
	wish := m.wishes[service].Families
	for _, wanted := range append(slices.Clone(wish), 0) {
		for _, u := range m.uses {
			f := ipam.FamilyOf(u.addr)
			if u.service != service || u.leaving || f != wanted && (wanted != 0 || slices.Contains(wish, f)) {
				continue
			}
			alloc.Addrs = append(alloc.Addrs, u.addr)
			alloc.Pools = append(alloc.Pools, u.label)
			if m.poolOf(u.addr) == nil {
				alloc.Stranded = append(alloc.Stranded, u.addr)
			}
		}
	}
	for _, u := range m.uses {
		if u.service == service && u.leaving {
			alloc.Left = append(alloc.Left, u.addr)
		}
	}
	return alloc
}

// holders does what Allocator.Holders does.
func (m *model) holders(addr netip.Addr) []string {
	var names []string
	for _, u := range m.uses {
		if u.addr == addr {
			names = append(names, u.service)
		}
	}
	slices.Sort(names)
	return names
}

// usage does what Allocator.Usage does.
func (m *model) usage() []ipam.PoolUsage {
	var usage []ipam.PoolUsage
	for _, p := range m.pools {
		for _, f := range []ipam.Family{ipam.IPv4, ipam.IPv6} {
			row := ipam.PoolUsage{Pool: p.Name, Family: f}
			for _, addr := range addrsOf(p, f) {
				row.Total++
				if n := len(m.holders(addr)); n > 0 {
					row.InUse++
					row.Services += n
				}
			}
			if row.Total > 0 {
				usage = append(usage, row)
			}
		}
	}
	return usage
}
