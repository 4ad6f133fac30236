package responder

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
)

// machine returns a function that runs a filter as the kernel does for a frame that is meant for this host: the user-space
// machine doesn't know packet types.
func machine(tb testing.TB, code []bpf.Instruction) func(frame []byte) bool {
	tb.Helper()
	code = slices.Clone(code)
	for i, ins := range code {
		if _, ok := ins.(bpf.LoadExtension); ok {
			code[i] = bpf.LoadConstant{Dst: bpf.RegA, Val: 0}
		}
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		tb.Fatal(err)
	}
	return func(frame []byte) bool {
		n, err := vm.Run(frame)
		if err != nil {
			tb.Fatal(err)
		}
		return n > 0
	}
}

// TestFilterKeepsAnswers: the filter may pass what isn't answered, but never keep back what is.
func TestFilterKeepsAnswers(t *testing.T) {
	s, out := testSnapshot(), new(buffer)
	for _, tt := range arpRows(t) {
		t.Run("ARP "+tt.name, func(t *testing.T) {
			_, _, drop := answerARP(tt.frame(), s, out)
			if _, sighted := sightARP(tt.frame(), s); sighted {
				drop = Answered // as good as
			}
			if passed := machine(t, filterARP(s, maxIntervals))(tt.frame()); drop == Answered && !passed {
				t.Error("an answerable frame was filtered")
			} else if passed && (drop == DropNotHeld || drop == DropNotRequest) {
				t.Errorf("passed, though dropped for %v", drop)
			}
		})
	}
	for _, tt := range ndpRows(t) {
		t.Run("NDP "+tt.name, func(t *testing.T) {
			_, _, drop := answerNDP(tt.frame(), s, out)
			if _, sighted := sightNDP(tt.frame(), s); sighted {
				drop = Answered // as good as
			}
			if passed := machine(t, filterNDP(s, maxIntervals))(tt.frame()); drop == Answered && !passed {
				t.Error("an answerable frame was filtered")
			} else if passed && (drop == DropNotHeld || drop == DropNotRequest || drop == DropHopLimit) {
				t.Errorf("passed, though dropped for %v", drop)
			}
		})
	}
}

// TestFilterAgainstMap compares filters of random sets with the sets.
func TestFilterAgainstMap(t *testing.T) {
	tests := []struct {
		name     string
		held     int
		spread   uint32 // addresses are drawn from this many neighbours
		prefixes int
		exact    bool
	}{
		{"none", 0, 1, 1, true},
		{"one", 1, 1 << 31, 1, true},
		{"a few", 7, 1 << 31, 3, true},
		{"a dense pool", 5000, 2000, 1, true},
		{"a thousand, scattered", 1000, 1 << 31, 1, true},
		{"some hundreds in two prefixes", 180, 1 << 31, 2, true},
		{"thousands, scattered", 5000, 1 << 31, 4, false},
		{"more prefixes than the filter tells apart", 100, 1 << 31, 50, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(tt.held), uint64(tt.spread)))
			held := make(map[netip.Addr]Entry)
			for range tt.held {
				held[randomAddr4(rng, tt.spread)] = Entry{}
				held[randomAddr6(rng, tt.spread, tt.prefixes)] = Entry{}
			}
			s := newSnapshot(ownMAC, ownNonce, held)
			arpFilter, _ := protocolARP.fit(s, maxIntervals)
			ndpFilter, _ := protocolNDP.fit(s, maxIntervals)
			passedARP, passedNDP := machine(t, arpFilter), machine(t, ndpFilter)
			passed := func(addr netip.Addr) bool {
				if addr.Is4() {
					spec := request()
					spec.target = addr
					return passedARP(spec.bytes(t))
				}
				spec := solicitation()
				spec.message = ns(addr, clientMAC)
				return passedNDP(spec.bytes(t))
			}
			claimed := func(addr netip.Addr) bool {
				if addr.Is4() {
					spec := request()
					spec.sender, spec.target = addr, netip.IPv4Unspecified()
					return passedARP(spec.bytes(t))
				}
				spec := claim6()
				spec.message = na(addr, clientMAC, false)
				return passedNDP(spec.bytes(t))
			}
			for addr := range held {
				if !passed(addr) || !claimed(addr) {
					t.Fatalf("held address %v is filtered", addr)
				}
			}
			for range 2000 {
				for _, addr := range []netip.Addr{randomAddr4(rng, tt.spread), randomAddr6(rng, tt.spread, tt.prefixes)} {
					if _, ok := held[addr]; !ok && tt.exact && passed(addr) {
						t.Fatalf("foreign address %v passes", addr)
					}
				}
			}
			for _, f := range [][]bpf.Instruction{arpFilter, ndpFilter} {
				if len(f) > maxProgram {
					t.Errorf("filter has %d instructions", len(f))
				}
			}
		})
	}
}

func randomAddr4(rng *rand.Rand, spread uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24+rng.Uint32N(spread))
	return netip.AddrFrom4(b)
}

func randomAddr6(rng *rand.Rand, spread uint32, prefixes int) netip.Addr {
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8, 5: byte(rng.IntN(prefixes))}
	binary.BigEndian.PutUint32(b[12:], rng.Uint32N(spread))
	return netip.AddrFrom16(b)
}

// TestFilterIsUseful: a coarse filter still keeps most of the LAN's chatter out.
func TestFilterIsUseful(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	held := make(map[netip.Addr]Entry)
	for range 3000 { // in 30 pools of 100 addresses each
		pool := uint32(rng.IntN(30)) << 16
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], 10<<24+pool+rng.Uint32N(100))
		held[netip.AddrFrom4(b)] = Entry{}
	}
	passes := machine(t, filterARP(newSnapshot(ownMAC, ownNonce, held), 48))
	passed := 0
	for range 2000 {
		spec := request()
		spec.target = randomAddr4(rng, 30<<16)
		if passes(spec.bytes(t)) {
			passed++
		}
	}
	if passed > 20 {
		t.Errorf("%d of 2000 foreign requests pass", passed)
	}
}

func BenchmarkFilter1000(b *testing.B) {
	rng := rand.New(rand.NewPCG(3, 4))
	held := make(map[netip.Addr]Entry)
	for range 1000 {
		held[randomAddr4(rng, 1<<31)] = Entry{}
	}
	s := newSnapshot(ownMAC, ownNonce, held)
	for b.Loop() {
		if _, err := assembleFilter(filterARP(s, maxIntervals)); err != nil {
			b.Fatal(err)
		}
	}
}

// TestShare: both searches stay within the limit together, and are exact as long as they can be.
func TestShare(t *testing.T) {
	for _, tt := range []struct{ addrs, limit, targets, senders int }{
		{1, 250, 1, 1},
		{100, 250, 100, 100},
		{125, 250, 125, 125},
		{150, 250, 150, 100},
		{200, 250, 200, 50},
		{1000, 250, 200, 50},
		{1000, maxIntervals, 1000, 280},
		{1000, 4, 3, 1},
		{1000, 1, 1, 1},
	} {
		var values []uint32
		for i := range tt.addrs {
			values = append(values, uint32(i*i*3))
		}
		targets, senders := share(intervals(values, len(values)), tt.limit)
		if len(targets) != tt.targets || len(senders) != tt.senders {
			t.Errorf("share of %d addresses, limit %d = %d and %d, want %d and %d",
				tt.addrs, tt.limit, len(targets), len(senders), tt.targets, tt.senders)
		}
	}
}
