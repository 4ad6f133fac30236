package ipam

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestBitset compares the set with a map through random additions and removals, for shapes of one level to all.
func TestBitset(t *testing.T) {
	for _, last := range []uint64{0, 5, 63, 64, 255, 4095, 4096, 65535, 1<<32 - 1, 1<<63 + 5, ^uint64(0)} {
		for _, masked := range []bool{false, true} {
			t.Run(fmt.Sprintf("last=%d/masked=%v", last, masked), func(t *testing.T) {
				bitsetHistory(t, last, masked)
			})
		}
	}
}

// bitsetHistory adds more than it removes, then removes everything.
func bitsetHistory(t *testing.T, last uint64, masked bool) {
	rng := rand.New(rand.NewPCG(last, 2))
	set, twin := newBitset(last, masked), map[uint64]bool{}
	taken := func(n uint64) bool { return twin[n] || masked && (n%256 == 0 || n%256 == 255) }
	lowest := func() uint64 {
		n := uint64(0)
		for taken(n) {
			n++
		}
		return n
	}
	for range 3000 {
		n, _ := set.lowestFree()
		if rng.IntN(3) == 0 && last > 0 {
			n = rng.Uint64N(last)
		}
		switch {
		case twin[n] && rng.IntN(2) == 0:
			set.remove(n)
			delete(twin, n)
		case !taken(n) && n <= last:
			set.add(n)
			twin[n] = true
		}
		if rng.IntN(50) == 0 {
			checkBitset(t, set, len(twin), lowest())
		}
	}
	for n := range twin {
		set.remove(n)
	}
	clear(twin)
	checkBitset(t, set, 0, lowest())
	if set.root != nil {
		t.Errorf("an empty set keeps nodes")
	}
}

// checkBitset compares a set with what it must contain.
func checkBitset(t *testing.T, set *bitset, count int, lowest uint64) {
	t.Helper()
	got, ok := set.lowestFree()
	full := set.depth == 0 && lowest == 64
	if set.count() != uint64(count) || ok == full || ok && got != lowest {
		t.Fatalf("count %d, lowest free %d %v; want %d, %d", set.count(), got, ok, count, lowest)
	}
}

// TestLowestWithout compares the search for a shared address with one from end to end.
func TestLowestWithout(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		last := uint64(1) << (1 + rng.IntN(20))
		set := newBitset(last, false)
		others := make([]*bitset, rng.IntN(4))
		for i := range others {
			others[i] = newBitset(last, false)
		}
		members, open := map[uint64]bool{}, map[uint64]bool{}
		for range 300 {
			n := rng.Uint64N(last)
			if members[n] {
				continue
			}
			members[n], open[n] = true, true
			set.add(n)
			for _, o := range others {
				if rng.IntN(10) > 0 {
					o.add(n)
					delete(open, n)
				}
			}
		}
		want, wantOK := uint64(0), false
		for n := range open {
			if !wantOK || n < want {
				want, wantOK = n, true
			}
		}
		got, ok := set.lowestWithout(others)
		if ok != wantOK || ok && got != want {
			t.Errorf("seed %d: got %d %v, want %d %v", seed, got, ok, want, wantOK)
		}
	}
}
