package netif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// MaxAbilities is the length of the longest text that [Abilities.MarshalBinary] makes, in bytes. The metadata of a member
// of the gossip may have 512.
const MaxAbilities = 400

// Range is the addresses from First to Last, both included. Both are of one family.
type Range struct{ First, Last netip.Addr }

// overlaps reports whether p has an address of r.
func (r Range) overlaps(p netip.Prefix) bool {
	p = p.Masked()
	if p.Contains(r.First) {
		return true
	}
	return p.Addr().BitLen() == r.First.BitLen() && r.First.Less(p.Addr()) && !r.Last.Less(p.Addr())
}

// Abilities is what another node must know of a [Snapshot] to tell which addresses this one can carry. The zero value
// can carry nothing. It is never modified.
type Abilities struct {
	cut      uint8           // what did not fit
	working  bool            // there is an interface that carries what lies in no subnet
	macs     []MAC           // sorted
	names    []string        // of interfaces that carry what the pool allows there, sorted
	prefixes map[subnet]bool // whether an interface carries what lies there
}

// subnet is a prefix that interfaces have. A link-local one counts for link-local addresses only.
type subnet struct {
	netip.Prefix
	linkLocal bool
}

func (s subnet) compare(o subnet) int {
	if c := s.Prefix.Compare(o.Prefix); c != 0 || s.linkLocal == o.linkLocal {
		return c
	}
	if o.linkLocal {
		return -1
	}
	return 1
}

// What may not fit.
const (
	cutMACs uint8 = 1 << iota
	cutNames
	cutPrefixes
	cutAll = cutMACs | cutNames | cutPrefixes
)

// flagsAll are the flags of the binary form: working, and what did not fit.
const flagsAll = 1 | cutAll<<1

// Abilities returns what s can carry, without the interfaces in failed, by index. All names and subnets are in it if
// they fit into [MaxAbilities]. If not, only those that matter are: the given names of interfaces (which some pool allows)
// and subnets with addresses of the given ranges (which some pool has). If these don't fit either, MACs come first, then
// names, then subnets, and [Abilities.Truncated] is true.
func (s *Snapshot) Abilities(names []string, ranges []Range, failed map[int]bool) Abilities {
	a := s.abilities(failed)
	if len(a.marshal()) <= MaxAbilities {
		return a
	}
	a.names = slices.DeleteFunc(a.names, func(name string) bool { return !slices.Contains(names, name) })
	maps.DeleteFunc(a.prefixes, func(p subnet, _ bool) bool {
		return !slices.ContainsFunc(ranges, func(r Range) bool { return r.overlaps(p.Prefix) })
	})
	a.fit()
	return a
}

// abilities returns all that s can carry.
func (s *Snapshot) abilities(failed map[int]bool) Abilities {
	a := Abilities{prefixes: make(map[subnet]bool)}
	if s == nil {
		return a
	}
	served := make(map[subnet]bool) // those that have an eligible interface: see inSubnet
	for _, i := range s.able {
		a.macs = append(a.macs, i.MAC)
		works := i.Eligible() && !failed[i.Index]
		if works {
			a.working = true
			a.names = append(a.names, i.Name)
		}
		for _, p := range i.Prefixes {
			net := subnet{p.Masked(), p.Addr().IsLinkLocalUnicast()}
			if !served[net] {
				a.prefixes[net] = works
			}
			served[net] = served[net] || i.Eligible()
		}
	}
	slices.SortFunc(a.macs, MAC.compare)
	a.macs = slices.Compact(a.macs)
	slices.Sort(a.names)
	a.names = slices.Compact(a.names)
	return a
}

func (m MAC) compare(o MAC) int { return bytes.Compare(m[:], o[:]) }

// fit drops what makes a too long, the least important first.
func (a *Abilities) fit() {
	for len(a.marshal()) > MaxAbilities {
		switch {
		case len(a.prefixes) > 0:
			a.cut |= cutPrefixes
			a.prefixes = nil
		case len(a.names) > 0:
			a.cut |= cutNames
			a.names = nil
		default:
			a.cut |= cutMACs
			over := len(a.marshal()) - MaxAbilities
			a.macs = a.macs[:len(a.macs)-(over+len(MAC{})-1)/len(MAC{})]
		}
	}
}

// CanCarry reports whether the node can carry addr, given the names of the interfaces that may: whether
// [Snapshot.Carriers] returns any there whose responder works. If what it would have to know did not fit, it answers true
// if the node has any working interface.
func (a Abilities) CanCarry(addr netip.Addr, allowed []string) bool {
	addr = addr.Unmap().WithZone("")
	if len(allowed) > 0 {
		return a.working && (a.cut&cutNames != 0 ||
			slices.ContainsFunc(allowed, func(name string) bool { return slices.Contains(a.names, name) }))
	}
	if a.cut&cutPrefixes != 0 {
		return a.working
	}
	inSubnet := false
	for p, works := range a.prefixes {
		if !p.Contains(addr) || p.linkLocal && !addr.IsLinkLocalUnicast() {
			continue
		}
		if works {
			return true
		}
		inSubnet = true
	}
	return !inSubnet && a.working
}

// CarriesSame reports whether a and o can carry the same addresses, that is, whether [Abilities.CanCarry] is the same of both whatever
// it is asked. It may be false all the same.
func (a Abilities) CarriesSame(o Abilities) bool {
	return a.cut&^cutMACs == o.cut&^cutMACs && a.working == o.working && slices.Equal(a.names, o.names) &&
		maps.Equal(a.prefixes, o.prefixes)
}

// MACs returns the MACs of the node's interfaces that carry announcements or would if their link came up, sorted.
func (a Abilities) MACs() []MAC { return slices.Clone(a.macs) }

// Truncated reports whether something that matters did not fit.
func (a Abilities) Truncated() bool { return a.cut != 0 }

// Equal reports whether a and o say the same.
func (a Abilities) Equal(o Abilities) bool { return bytes.Equal(a.marshal(), o.marshal()) }

// String returns a for people to read.
func (a Abilities) String() string {
	var out []string
	for _, m := range a.macs {
		out = append(out, m.String())
	}
	out = append(out, a.names...)
	for _, p := range a.sorted() {
		text := p.String()
		if !a.prefixes[p] {
			text += " (down)"
		}
		out = append(out, text)
	}
	if a.cut != 0 {
		out = append(out, "and more")
	}
	return strings.Join(out, ", ")
}

func (a Abilities) sorted() []subnet {
	return slices.SortedFunc(maps.Keys(a.prefixes), subnet.compare)
}

// abilitiesVersion is the first byte of the binary form. Versions up to abilitiesCompatible begin like this one, so that nodes of two
// releases understand each other during a rollout: they may add flags, and more after the lists. One that takes a greater number
// breaks with that.
const (
	abilitiesVersion    = 1
	abilitiesCompatible = 31
)

// Bits of a prefix in the binary form.
const (
	prefixIs6 = 1 << iota
	prefixLinkLocal
	prefixWorks
	prefixAll = prefixIs6 | prefixLinkLocal | prefixWorks
)

// MarshalBinary implements [encoding.BinaryMarshaler]. The result is never longer than [MaxAbilities], and the same for
// values that are equal. It never fails.
func (a Abilities) MarshalBinary() ([]byte, error) { return a.marshal(), nil }

// marshal returns the version, one byte of flags, and three lists, each with its length in two bytes: MACs; names, each
// with its length in one byte; and prefixes, each of a byte of flags, its number of bits, and as many bytes as that takes.
func (a Abilities) marshal() []byte {
	flags := a.cut << 1
	if a.working {
		flags |= 1
	}
	b := []byte{abilitiesVersion, flags}
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.macs)))
	for _, m := range a.macs {
		b = append(b, m[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.names)))
	for _, name := range a.names {
		b = append(append(b, byte(len(name))), name...)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.prefixes)))
	for _, p := range a.sorted() {
		b = appendPrefix(b, p, a.prefixes[p])
	}
	return b
}

func appendPrefix(b []byte, p subnet, works bool) []byte {
	var flags byte
	if p.Addr().Is6() {
		flags |= prefixIs6
	}
	if p.linkLocal {
		flags |= prefixLinkLocal
	}
	if works {
		flags |= prefixWorks
	}
	b = append(b, flags, byte(p.Bits()))
	return append(b, p.Addr().AsSlice()[:(p.Bits()+7)/8]...)
}

// errAbilities is why a text is not what marshal writes.
var errAbilities = errors.New("malformed")

// ParseAbilities reads what [Abilities.MarshalBinary] wrote, here or in a later version, of which it takes what it knows. It accepts
// nothing else.
func ParseAbilities(b []byte) (Abilities, error) {
	switch {
	case len(b) == 0:
		return Abilities{}, fmt.Errorf("parse abilities: empty")
	case b[0] < abilitiesVersion || b[0] > abilitiesCompatible:
		return Abilities{}, fmt.Errorf("parse abilities: version %d is not supported", b[0])
	case len(b) > MaxAbilities:
		return Abilities{}, fmt.Errorf("parse abilities: %d bytes, more than %d", len(b), MaxAbilities)
	}
	r := reader{rest: b[1:]}
	a := r.abilities()
	if b[0] > abilitiesVersion { // without what it may have added
		b = slices.Concat([]byte{abilitiesVersion, b[1] & flagsAll}, b[2:len(b)-len(r.rest)])
		r.rest = nil
	}
	if r.bad || len(r.rest) > 0 || !bytes.Equal(a.marshal(), b) {
		return Abilities{}, fmt.Errorf("parse abilities: %w", errAbilities)
	}
	return a, nil
}

// reader takes values from a text. After a failure it is bad, and all values are zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return make([]byte, n)
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) byte() byte { return r.take(1)[0] }

// count returns the length of a list. Each element has a byte at least.
func (r *reader) count() int {
	n := int(binary.BigEndian.Uint16(r.take(2)))
	if n > len(r.rest) {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) abilities() Abilities {
	flags := r.byte()
	a := Abilities{working: flags&1 != 0, cut: flags >> 1 & cutAll, prefixes: make(map[subnet]bool)}
	for range r.count() {
		a.macs = append(a.macs, MAC(r.take(len(MAC{}))))
	}
	for range r.count() {
		a.names = append(a.names, string(r.take(int(r.byte()))))
	}
	for range r.count() {
		p, works := r.prefix()
		a.prefixes[p] = works
	}
	r.bad = r.bad || !slices.IsSortedFunc(a.macs, MAC.compare) || !slices.IsSorted(a.names)
	return a
}

func (r *reader) prefix() (p subnet, works bool) {
	flags, bits := r.byte(), int(r.byte())
	addr := make([]byte, 4)
	if flags&prefixIs6 != 0 {
		addr = make([]byte, 16)
	}
	if bits > len(addr)*8 || flags&^prefixAll != 0 {
		r.bad = true
		return p, false
	}
	copy(addr, r.take((bits+7)/8))
	ip, _ := netip.AddrFromSlice(addr)
	p = subnet{netip.PrefixFrom(ip, bits).Masked(), flags&prefixLinkLocal != 0}
	return p, flags&prefixWorks != 0
}
