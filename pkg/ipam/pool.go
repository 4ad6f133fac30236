package ipam

import "slices"

// A Pool is a set of addresses to give to Services, and to which of them.
type Pool struct {
	// Name identifies the pool.
	Name string
	// Ranges are the pool's addresses, of either family, used in this order. No two ranges of any pools overlap.
	Ranges []Range
	// AvoidBuggyIPs leaves out IPv4 addresses that end in .0 or .255.
	AvoidBuggyIPs bool
	// AutoAssign lets a Service have an address without asking for the pool or the address.
	AutoAssign bool
	// Priority orders pools: lower first, 0 after all others.
	Priority int

	// Namespaces and NamespaceSelectors say whose Services may use the pool: those in one of the namespaces or in a
	// namespace that a selector matches. Both empty: all.
	Namespaces         []string
	NamespaceSelectors []Selector
	// ServiceSelectors say which Services may use the pool: those that one of them matches. Empty: all.
	ServiceSelectors []Selector
}

// restricted reports whether the pool is for some Services only.
func (p *Pool) restricted() bool {
	return len(p.Namespaces) > 0 || len(p.NamespaceSelectors) > 0 || len(p.ServiceSelectors) > 0
}

// Admits returns 0 if the Service may use the pool, else ReasonNotForNamespace or ReasonNotForService. It looks at the
// pool's selectors only, neither at AutoAssign nor at what is free.
func (p *Pool) Admits(req *Request) Reason {
	anyNamespace := len(p.Namespaces) == 0 && len(p.NamespaceSelectors) == 0
	switch {
	case !anyNamespace && !slices.Contains(p.Namespaces, req.Namespace) &&
		!matchesAny(p.NamespaceSelectors, req.NamespaceLabels):
		return ReasonNotForNamespace
	case len(p.ServiceSelectors) > 0 && !matchesAny(p.ServiceSelectors, req.Labels):
		return ReasonNotForService
	default:
		return 0
	}
}
