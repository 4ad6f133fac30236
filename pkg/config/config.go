package config

import (
	"net/netip"
	"slices"

	"github.com/invar-lb/invar/pkg/ipam"
)

// A Config is a checked configuration.
type Config struct {
	// Pools are the layer2 pools in the order of the text.
	Pools []Pool
	// Warnings are findings that keep no pool from serving, of class Layer2Only or Notice, in the order of the text.
	Warnings Errors
}

// A Pool is a pool of addresses and where they are announced.
type Pool struct {
	ipam.Pool
	// NodeSelectors say which nodes may announce the pool's addresses: those that one of them matches. Empty: all.
	NodeSelectors []ipam.Selector
	// Interfaces are the names of the interfaces to announce on. Empty: those that suit the address.
	Interfaces []string
}

// AddressPools returns what the allocator needs to know of the pools.
func (c *Config) AddressPools() []ipam.Pool {
	pools := make([]ipam.Pool, len(c.Pools))
	for i, p := range c.Pools {
		pools[i] = p.Pool
	}
	return pools
}

// Contains reports whether addr lies in the pool, whether or not it may be given to a Service.
func (p *Pool) Contains(addr netip.Addr) bool {
	return slices.ContainsFunc(p.Ranges, func(r ipam.Range) bool { return r.Contains(addr) })
}

// SelectsNode reports whether a node with these labels may announce the pool's addresses.
func (p *Pool) SelectsNode(labels map[string]string) bool {
	return len(p.NodeSelectors) == 0 ||
		slices.ContainsFunc(p.NodeSelectors, func(s ipam.Selector) bool { return s.Matches(labels) })
}
