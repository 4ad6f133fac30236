package responder

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/net/bpf"
)

// The kernel filter holds the addresses as sorted intervals of their last 32 bits, searched by halving: pools are ranges,
// so a thousand addresses are often one interval. IPv6 addresses are grouped by their first 96 bits. Where there are more
// intervals than the program may have room for, those with the smallest gaps between them are joined. The filter then
// passes some frames too many, which the answering code drops; it never passes too few.
const (
	// maxIntervals is enough to tell a thousand single addresses from all others. Where a program of so many exceeds what the
	// kernel takes, maxProgram or its memory for a socket (net.core.optmem_max: 128 kB, on kernels before 6.7 20 kB, which is
	// enough for some 200 of them), a coarser filter is used: see withSmallerFilters.
	maxIntervals = 1280
	// senderShare is the part of them that is kept for the addresses as senders, if it is needed: a frame too many there
	// is one request of a host whose address lies between ours.
	senderShare = maxIntervals / 5
	// maxProgram is the number of instructions that a program may have (BPF_MAXINSNS).
	maxProgram = 4096
	// maxGroups is the number of 96-bit prefixes that are told apart; beyond, only the last 32 bits are looked at.
	maxGroups = 16
	// leaf is the number of intervals that are searched one by one.
	leaf = 4

	acceptLen = 1 << 16
	// packetOtherHost is the kernel's PACKET_OTHERHOST: for another MAC, or tagged for a VLAN without interface.
	packetOtherHost = 3
)

// interval is a range of 32-bit numbers, both ends included.
type interval struct{ lo, hi uint32 }

// intervals returns at most limit intervals that cover all values.
func intervals(values []uint32, limit int) []interval {
	slices.Sort(values)
	var out []interval
	for _, v := range values {
		if n := len(out); n > 0 && (v == out[n-1].hi || v == out[n-1].hi+1) {
			out[n-1].hi = v
			continue
		}
		out = append(out, interval{v, v})
	}
	return coarsen(out, limit)
}

// coarsen joins sorted intervals over the smallest gaps until at most limit are left.
func coarsen(in []interval, limit int) []interval {
	if len(in) <= limit {
		return in
	}
	// The limit-1 widest gaps stay. gaps holds the indexes of the intervals after each gap.
	gaps := make([]int, 0, len(in)-1)
	for i := 1; i < len(in); i++ {
		gaps = append(gaps, i)
	}
	width := func(i int) uint32 { return in[i].lo - in[i-1].hi }
	slices.SortFunc(gaps, func(a, b int) int { return cmp.Or(cmp.Compare(width(b), width(a)), cmp.Compare(a, b)) })
	kept := gaps[:limit-1]
	slices.Sort(kept)
	out := []interval{in[0]}
	for i := 1; i < len(in); i++ {
		if len(kept) > 0 && kept[0] == i {
			kept = kept[1:]
			out = append(out, in[i])
			continue
		}
		out[len(out)-1].hi = in[i].hi
	}
	return out
}

// program collects instructions with symbolic forward jumps.
type program struct {
	code  []bpf.Instruction
	jumps []jump
	marks []int // label -> index of the instruction that it marks
}

// jump is the place of a bpf.Jump and where it goes.
type jump struct {
	at int
	to label
}

type label int

// The labels of the two ends of every program.
const (
	drop label = iota
	accept
)

func newProgram() *program { return &program{marks: make([]int, accept+1)} }

func (p *program) emit(ins ...bpf.Instruction) { p.code = append(p.code, ins...) }

func (p *program) label() label {
	p.marks = append(p.marks, 0)
	return label(len(p.marks) - 1)
}

func (p *program) mark(l label) { p.marks[l] = len(p.code) }

func (p *program) jump(to label) {
	p.jumps = append(p.jumps, jump{len(p.code), to})
	p.emit(bpf.Jump{})
}

// require goes on if the accumulator meets the condition and jumps otherwise.
func (p *program) require(cond bpf.JumpTest, value uint32, otherwise label) {
	p.emit(bpf.JumpIf{Cond: cond, Val: value, SkipTrue: 1})
	p.jump(otherwise)
}

// load requires that size bytes at off equal value.
func (p *program) load(off, size int, value uint32, otherwise label) {
	p.emit(bpf.LoadAbsolute{Off: uint32(off), Size: size})
	p.require(bpf.JumpEqual, value, otherwise)
}

// search accepts if one of the sorted intervals has the accumulator and jumps to miss otherwise. Most frames of a LAN are about
// addresses outside all of them, so that is looked at first.
func (p *program) search(in []interval, miss label) {
	if len(in) > leaf {
		p.require(bpf.JumpGreaterOrEqual, in[0].lo, miss)
		p.require(bpf.JumpLessOrEqual, in[len(in)-1].hi, miss)
	}
	p.halve(in, miss)
}

// halve is search without that look.
func (p *program) halve(in []interval, miss label) {
	if len(in) > leaf {
		half, right := len(in)/2, p.label()
		p.require(bpf.JumpLessThan, in[half].lo, right)
		p.halve(in[:half], miss)
		p.mark(right)
		p.halve(in[half:], miss)
		return
	}
	for _, i := range in {
		if i.lo == i.hi {
			p.require(bpf.JumpNotEqual, i.lo, accept)
			continue
		}
		p.require(bpf.JumpGreaterOrEqual, i.lo, miss) // in order: below this one is below all that follow
		p.require(bpf.JumpGreaterThan, i.hi, accept)
	}
	p.jump(miss)
}

// assemble appends the two ends and resolves the jumps. What has not been accepted so far is dropped. Only what has is looked at for
// whether the kernel says that it is for someone else.
func (p *program) assemble() []bpf.Instruction {
	p.jump(drop)
	p.mark(accept)
	p.emit(
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: packetOtherHost, SkipTrue: 1},
		bpf.RetConstant{Val: acceptLen},
	)
	p.mark(drop)
	p.emit(bpf.RetConstant{Val: 0})
	for _, j := range p.jumps {
		p.code[j.at] = bpf.Jump{Skip: uint32(p.marks[j.to] - j.at - 1)}
	}
	return p.code
}

// filterARP passes ARP requests for the IPv4 addresses of s, and whatever comes from a host that says it has one of them.
// The kernel hands ARP frames only to the socket.
func filterARP(s *snapshot, limit int) []bpf.Instruction {
	values := make([]uint32, 0, len(s.v4))
	for addr := range s.v4 {
		values = append(values, binary.BigEndian.Uint32(addr[:]))
	}
	p := newProgram()
	if len(values) == 0 {
		return p.assemble()
	}
	targets, senders := share(intervals(values, len(values)), limit)
	sender := p.label()
	p.load(offARPOperation, 2, opRequest, sender)
	p.emit(bpf.LoadAbsolute{Off: offARPTargetIP, Size: 4})
	p.search(targets, sender)
	p.mark(sender)
	p.emit(bpf.LoadAbsolute{Off: offARPSenderIP, Size: 4})
	p.search(senders, drop)
	return p.assemble()
}

// share returns all for two searches that may have limit intervals together. If that is too few for both to be exact, the
// first is coarsened later than the second.
func share(all []interval, limit int) (first, second []interval) {
	second = coarsen(all, max(1, limit*senderShare/maxIntervals, limit-len(all)))
	return coarsen(all, max(1, limit-len(second))), second
}

// filterNDP passes neighbour solicitations and advertisements for the IPv6 addresses of s. All IPv6 traffic of the
// interface goes through it, so it lets go of most of that in its first instructions.
func filterNDP(s *snapshot, limit int) []bpf.Instruction {
	p := newProgram()
	if len(s.v6) == 0 {
		return p.assemble()
	}
	p.load(offIPNext, 1, protoICMP6, drop)
	p.emit(bpf.LoadAbsolute{Off: offICMP, Size: 1})
	p.require(bpf.JumpGreaterOrEqual, typeNS, drop)
	p.require(bpf.JumpLessOrEqual, typeNA, drop)
	p.load(offIPHops, 1, hopLimit, drop)
	groups := prefixes96(s, maxGroups)
	for _, prefix := range slices.SortedFunc(maps.Keys(groups), compare96) {
		next := p.label()
		if len(groups) > 1 || !prefix.any {
			for i, word := range prefix.words {
				p.load(offICMPTarget+4*i, 4, word, next)
			}
		}
		p.emit(bpf.LoadAbsolute{Off: offICMPTarget + 12, Size: 4})
		p.search(intervals(groups[prefix], max(1, limit/len(groups))), next)
		p.mark(next)
	}
	return p.assemble()
}

// prefix96 is the first 96 bits of an IPv6 address, or any.
type prefix96 struct {
	words [3]uint32
	any   bool
}

func compare96(a, b prefix96) int { return slices.Compare(a.words[:], b.words[:]) }

// prefixes96 returns the last 32 bits of the IPv6 addresses by their first 96, or all together if there are more than
// limit different ones.
func prefixes96(s *snapshot, limit int) map[prefix96][]uint32 {
	out := make(map[prefix96][]uint32)
	var all []uint32
	for addr := range s.v6 {
		be := binary.BigEndian
		last := be.Uint32(addr[12:])
		key := prefix96{words: [3]uint32{be.Uint32(addr[0:]), be.Uint32(addr[4:]), be.Uint32(addr[8:])}}
		out[key] = append(out[key], last)
		all = append(all, last)
	}
	if len(out) > limit {
		return map[prefix96][]uint32{{any: true}: all}
	}
	return out
}

// assembleFilter turns instructions into what the kernel takes.
func assembleFilter(code []bpf.Instruction) ([]bpf.RawInstruction, error) {
	raw, err := bpf.Assemble(code)
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	return raw, nil
}
