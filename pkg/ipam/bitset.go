package ipam

import (
	"math/bits"
	"slices"
)

// A bitset is a set of numbers from 0 to a limit that may be as high as 2^64-1. It is a tree of 64-bit words: a leaf
// holds 64 numbers, an inner node 64 children, and each node knows what is full below it, so that the lowest number
// that is not in the set is found on one way down. Nodes exist only where the set has members.
type bitset struct {
	root  *node
	depth int // levels of inner nodes above the leaves
	// masked makes the set treat numbers that are 0 or 255 modulo 256 as taken.
	masked bool
}

// A node of a bitset.
type node struct {
	count   uint64  // members at or below the node
	full    uint64  // leaf: numbers that are taken; inner node: children in which every number is taken
	present uint64  // inner node: children that exist
	kids    []*node // inner node: those children, in order
}

// newBitset returns an empty set for numbers up to last.
func newBitset(last uint64, masked bool) *bitset {
	depth := 0
	for rest := last >> 6; rest > 0; rest >>= 6 {
		depth++
	}
	return &bitset{depth: depth, masked: masked}
}

// mask returns the numbers that are always taken in the leaf that holds number<<6.
func (s *bitset) mask(number uint64) uint64 {
	switch {
	case s.masked && number&3 == 0:
		return 1
	case s.masked && number&3 == 3:
		return 1 << 63
	default:
		return 0
	}
}

// add puts n in the set. n is not in it yet.
func (s *bitset) add(n uint64) {
	s.root = s.addBelow(s.root, n, s.depth)
}

// addBelow puts n in the subtree at level, which it makes if it isn't there, and returns the subtree.
func (s *bitset) addBelow(at *node, n uint64, level int) *node {
	if level == 0 {
		if at == nil {
			at = &node{full: s.mask(n >> 6)}
		}
		at.full |= 1 << (n & 63)
		at.count++
		return at
	}
	if at == nil {
		at = &node{}
	}
	i := index(n, level)
	kid := s.addBelow(at.kid(i), n, level-1)
	at.setKid(i, kid)
	at.count++
	return at
}

// remove takes n out of the set. n is in it.
func (s *bitset) remove(n uint64) {
	s.root = s.removeBelow(s.root, n, s.depth)
}

// removeBelow takes n out of the subtree at level, and returns the subtree, or nil if nothing is left of it.
func (s *bitset) removeBelow(at *node, n uint64, level int) *node {
	at.count--
	switch {
	case at.count == 0:
		return nil
	case level == 0:
		at.full &^= 1 << (n & 63)
	default:
		i := index(n, level)
		at.setKid(i, s.removeBelow(at.kid(i), n, level-1))
	}
	return at
}

// count returns the number of members.
func (s *bitset) count() uint64 {
	if s.root == nil {
		return 0
	}
	return s.root.count
}

// lowestFree returns the lowest number that is not taken. It may lie above the set's limit, if all below are taken.
func (s *bitset) lowestFree() (uint64, bool) {
	if s.root != nil && s.root.full == ^uint64(0) {
		return 0, false
	}
	var n uint64
	at := s.root
	for level := s.depth; level > 0; level-- {
		i := 0
		if at != nil {
			i = bits.TrailingZeros64(^at.full)
			at = at.kid(i)
		}
		n = n<<6 | uint64(i)
	}
	taken := s.mask(n)
	if at != nil {
		taken = at.full
	}
	return n<<6 | uint64(bits.TrailingZeros64(^taken)), true
}

// lowestWithout returns the lowest member of s that is in none of others, which are subsets of s of the same shape. It
// skips a subtree as soon as one of others has all its members, so for one other set it goes down once.
func (s *bitset) lowestWithout(others []*bitset) (uint64, bool) {
	if s.root == nil {
		return 0, false
	}
	roots := make([]*node, 0, 4)
	for _, o := range others {
		if o.root != nil {
			roots = append(roots, o.root)
		}
	}
	return lowestWithout(s.root, roots, 0, s.depth)
}

// lowestWithout does this for the subtree at level; n is the number of the subtree.
func lowestWithout(at *node, others []*node, n uint64, level int) (uint64, bool) {
	for _, o := range others {
		if o.count == at.count {
			return 0, false
		}
	}
	if level == 0 {
		open := at.full
		for _, o := range others {
			open &^= o.full
		}
		return n<<6 | uint64(bits.TrailingZeros64(open)), open != 0
	}
	below := make([]*node, 0, 4)
	for rest := at.present; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(rest)
		below = below[:0]
		for _, o := range others {
			if kid := o.kid(i); kid != nil {
				below = append(below, kid)
			}
		}
		if found, ok := lowestWithout(at.kid(i), below, n<<6|uint64(i), level-1); ok {
			return found, true
		}
	}
	return 0, false
}

// index returns which child of a node at level holds n.
func index(n uint64, level int) int {
	return int(n >> (6 * level) & 63)
}

// kid returns child i, or nil.
func (at *node) kid(i int) *node {
	if at.present&(1<<i) == 0 {
		return nil
	}
	return at.kids[at.position(i)]
}

// position returns where in kids child i is or would be.
func (at *node) position(i int) int {
	return bits.OnesCount64(at.present & (1<<i - 1))
}

// setKid makes kid, which may be nil, child i.
func (at *node) setKid(i int, kid *node) {
	bit, pos := uint64(1)<<i, at.position(i)
	switch exists := at.present&bit != 0; {
	case kid == nil && exists:
		at.kids = slices.Delete(at.kids, pos, pos+1)
		at.present &^= bit
	case kid != nil && exists:
		at.kids[pos] = kid
	case kid != nil:
		at.kids = slices.Insert(at.kids, pos, kid)
		at.present |= bit
	}
	at.full &^= bit
	if kid != nil && kid.full == ^uint64(0) {
		at.full |= bit
	}
}
