package main

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/invar-lb/invar/pkg/election"
)

// nodeSet is a set of nodes, by number. It is a value: the methods return another one.
type nodeSet [16]uint64

const maxNodes = 16 * 64

func bit(node int) (s nodeSet) {
	s[node/64] = 1 << (node % 64)
	return s
}

func all(n int) (s nodeSet) {
	for i := range n {
		s[i/64] |= 1 << (i % 64)
	}
	return s
}

func (s nodeSet) has(node int) bool { return s[node/64]>>(node%64)&1 == 1 }

func (s nodeSet) with(node int) nodeSet {
	s[node/64] |= 1 << (node % 64)
	return s
}

func (s nodeSet) without(node int) nodeSet {
	s[node/64] &^= 1 << (node % 64)
	return s
}

func (s nodeSet) minus(o nodeSet) nodeSet {
	for i := range s {
		s[i] &^= o[i]
	}
	return s
}

func (s nodeSet) and(o nodeSet) nodeSet {
	for i := range s {
		s[i] &= o[i]
	}
	return s
}

func (s nodeSet) empty() bool { return s == nodeSet{} }

// list returns the nodes in ascending order.
func (s nodeSet) list() []int {
	var out []int
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			out = append(out, 64*i+bits.TrailingZeros64(word))
		}
	}
	return out
}

func (s nodeSet) String() string { return strings.Join(s.names(), " ") }

// names returns the nodes' names, sorted.
func (s nodeSet) names() []string {
	nodes := s.list()
	out := make([]string, 0, len(nodes))
	for _, node := range nodes {
		out = append(out, nodeName(node))
	}
	slices.Sort(out)
	return out
}

// addrSet is a set of addresses, by number.
type addrSet uint64

const maxAddrs = 40

func (s addrSet) has(a int) bool { return s>>a&1 == 1 }

func (s addrSet) String() string { return fmt.Sprint(s.list()) }

func (s addrSet) list() []int {
	var out []int
	for ; s != 0; s &= s - 1 {
		out = append(out, bits.TrailingZeros64(uint64(s)))
	}
	return out
}

// addrOf returns the address of a number, and addrID is the way back.
func addrOf(a int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(a)}) }

func addrID(a netip.Addr) int { return int(a.As4()[3]) }

func addrsOf(addrs []netip.Addr) (s addrSet) {
	for _, a := range addrs {
		s |= 1 << addrID(a)
	}
	return s
}

func addrsIn(claims []election.Claim) (s addrSet) {
	for _, c := range claims {
		s |= 1 << addrID(c.Addr)
	}
	return s
}
