package kube

import (
	"slices"
	"sort"
	"strings"

	"github.com/invar-lb/invar/pkg/ipam"
)

// Request returns what allocation needs to know of the Service, whose namespace has the given labels.
func (s Service) Request(namespaceLabels map[string]string) ipam.Request {
	req := ipam.Request{
		Service:         s.Name.String(),
		Namespace:       s.Name.Namespace,
		NamespaceLabels: namespaceLabels,
		Labels:          s.Labels,
		Partial:         s.Partial,
		Addrs:           s.Addrs,
		Pool:            s.Pool,
		Reallocate:      s.Reallocate,
		SharingKey:      s.SharingKey,
		BackendKey:      s.backendKey(),
	}
	if s.IPv4 {
		req.Families = append(req.Families, ipam.IPv4)
	}
	if s.IPv6 {
		req.Families = append(req.Families, ipam.IPv6)
	}
	if s.IPv6First {
		slices.Reverse(req.Families)
	}
	for _, p := range s.Ports {
		req.Ports = append(req.Ports, ipam.Port(p))
	}
	if s.AllocatedFrom != "" {
		req.FromPools = strings.Split(s.AllocatedFrom, ",")
	}
	return req
}

// backendKey is what the back ends of two Services must have in common for them to share an address. With policy Cluster
// every node serves everything, so anything goes; with Local the address must lead to the same pods.
func (s Service) backendKey() string {
	if !s.Local {
		return ""
	}
	pairs := []string{"local"} // never equal to a Service of policy Cluster, even without a selector
	for k, v := range s.Selector {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs[1:])
	return strings.Join(pairs, ",")
}
