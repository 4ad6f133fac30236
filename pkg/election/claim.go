package election

import (
	"cmp"
	"encoding/binary"
	"net/netip"
)

// Claim says that Node holds Addr.
type Claim struct {
	Addr netip.Addr `json:"addr"`
	Node string     `json:"node"`
	// Seq orders the claims of one address: a new claim is one higher than the claim that it follows.
	Seq uint64 `json:"seq"`
}

// Beats reports whether c wins over o, a claim of the same address.
func (c Claim) Beats(o Claim) bool {
	if c.Seq != o.Seq {
		return c.Seq > o.Seq
	}
	return c.Node != o.Node && outranks(c.Addr, c.Node, o.Node)
}

// digest returns a hash of c. Like [Rank] it is part of the protocol.
func (c Claim) digest() uint64 {
	b := c.Addr.As16()
	key := binary.BigEndian.AppendUint64(b[:], c.Seq)
	return hash(string(key), c.Node)
}

// Claims holds the winning claim of each address.
type Claims map[netip.Addr]Claim

// Merge takes c in and reports whether it won, that is, whether Claims changed.
func (cs Claims) Merge(c Claim) bool {
	if old, ok := cs[c.Addr]; ok && !c.Beats(old) {
		return false
	}
	cs[c.Addr] = c
	return true
}

// Next returns the claim by which node takes addr over from whoever holds it in cs.
func (cs Claims) Next(addr netip.Addr, node string) Claim {
	return Claim{Addr: addr, Node: node, Seq: cs[addr].Seq + 1}
}

// Rank returns the place that addr gives to node: a lower number comes first. It is a rendezvous hash: each address
// ranks the nodes in an order of its own, and a node that comes or goes changes nothing between the others.
//
// It is part of the protocol: every speaker of a cluster must compute the same.
func Rank(addr netip.Addr, node string) uint64 { return ranking(addr).of(node) }

// ranker is the hash of an address, to which the nodes' names are added.
type ranker uint64

func ranking(addr netip.Addr) ranker {
	b := addr.As16()
	return fnv(fnvOffset, string(b[:]))
}

// of returns the node's place.
func (r ranker) of(node string) uint64 { return mix(fnv(r, node)) }

// hash returns the hash of key and node.
func hash(key, node string) uint64 { return ranker(fnv(fnvOffset, key)).of(node) }

// FNV-1a, 64 bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h ranker, s string) ranker {
	for i := range len(s) {
		h = (h ^ ranker(s[i])) * fnvPrime
	}
	return h
}

// mix is the mixer of SplitMix64: FNV alone leaves names that differ in their last letter close together.
func mix(r ranker) uint64 {
	h := uint64(r)
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// outranks reports whether addr puts node a before node b.
func outranks(addr netip.Addr, a, b string) bool {
	return cmp.Or(cmp.Compare(Rank(addr, a), Rank(addr, b)), cmp.Compare(a, b)) < 0
}
