package election_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/election"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

var cmpAddr = cmpopts.EquateComparable(netip.Addr{})

func TestClaimBeats(t *testing.T) {
	const x = "192.168.1.160"
	// The address's ranking decides between equal sequence numbers; find out which way round it is for this pair.
	first, second := "node1", "node2"
	if election.Rank(addr(x), first) > election.Rank(addr(x), second) {
		first, second = second, first
	}
	tests := []struct {
		name string
		a, b election.Claim
		want bool
	}{
		{"higher sequence wins", claim(x, second, 8), claim(x, first, 7), true},
		{"lower sequence loses", claim(x, first, 7), claim(x, second, 8), false},
		{"equal sequence: better rank wins", claim(x, first, 7), claim(x, second, 7), true},
		{"equal sequence: worse rank loses", claim(x, second, 7), claim(x, first, 7), false},
		{"a claim does not beat itself", claim(x, first, 7), claim(x, first, 7), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Beats(tt.b); got != tt.want {
				t.Errorf("%+v beats %+v = %v, want %v", tt.a, tt.b, got, tt.want)
			}
		})
	}
}

func claim(a, node string, seq uint64) election.Claim {
	return election.Claim{Addr: addr(a), Node: node, Seq: seq}
}

// TestMergeIsSemilattice merges the same random claims in many orders, with repeats: the result must not differ.
func TestMergeIsSemilattice(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var claims []election.Claim
		for range 1 + rng.IntN(30) {
			claims = append(claims, election.Claim{
				Addr: addr(fmt.Sprintf("10.0.0.%d", rng.IntN(4))),
				Node: fmt.Sprintf("node%d", rng.IntN(5)),
				Seq:  uint64(rng.IntN(4)),
			})
		}
		want := merged(claims)
		for range 5 {
			rng.Shuffle(len(claims), func(i, j int) { claims[i], claims[j] = claims[j], claims[i] })
			got := merged(append(slices.Clone(claims), claims[:rng.IntN(len(claims))]...))
			if diff := cmp.Diff(want, got, cmpAddr); diff != "" {
				t.Fatalf("order of merging changes the result (-want +got):\n%s", diff)
			}
		}
	}
}

func merged(claims []election.Claim) election.Claims {
	cs := election.Claims{}
	for _, c := range claims {
		cs.Merge(c)
	}
	return cs
}

func TestMergeReportsChange(t *testing.T) {
	cs := election.Claims{}
	a := addr("10.0.0.1")
	first := cs.Next(a, "node1")
	steps := []struct {
		name  string
		claim election.Claim
		want  bool
	}{
		{"first claim of an address", first, true},
		{"the same again", first, false},
		{"the next one", election.Claim{Addr: a, Node: "node2", Seq: first.Seq + 1}, true},
		{"the old one, late", first, false},
	}
	for _, tt := range steps {
		if got := cs.Merge(tt.claim); got != tt.want {
			t.Errorf("%s: Merge = %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := cs.Next(a, "node3").Seq; got != 3 {
		t.Errorf("Next follows the winner: got sequence %d, want 3", got)
	}
}

func TestPlan(t *testing.T) {
	all := []string{"node1", "node2", "node3"}
	x, y, z := addr("192.168.1.160"), addr("192.168.1.161"), addr("fc00::1")
	tests := []struct {
		name     string
		addrs    []election.Address
		draining map[string]bool
		claims   []election.Claim
		want     map[netip.Addr]string
	}{
		{
			name:   "the holder keeps its address",
			addrs:  []election.Address{{Addr: x, Eligible: all}, {Addr: y, Eligible: all}},
			claims: []election.Claim{{Addr: x, Node: "node2", Seq: 4}, {Addr: y, Node: "node2", Seq: 1}},
			want:   map[netip.Addr]string{x: "node2", y: "node2"},
		},
		{
			name:   "a holder that is not eligible any more loses it to the least loaded",
			addrs:  []election.Address{{Addr: x, Eligible: all[:2]}, {Addr: y, Eligible: all[:2]}},
			claims: []election.Claim{{Addr: x, Node: "node3", Seq: 4}, {Addr: y, Node: "node1", Seq: 1}},
			want:   map[netip.Addr]string{x: "node2", y: "node1"},
		},
		{
			name:   "the preferred node takes it from the holder",
			addrs:  []election.Address{{Addr: x, Eligible: all, Prefer: "node3"}},
			claims: []election.Claim{{Addr: x, Node: "node1", Seq: 1}},
			want:   map[netip.Addr]string{x: "node3"},
		},
		{
			name:   "a preferred node that is not eligible changes nothing",
			addrs:  []election.Address{{Addr: x, Eligible: all[:2], Prefer: "node3"}},
			claims: []election.Claim{{Addr: x, Node: "node1", Seq: 1}},
			want:   map[netip.Addr]string{x: "node1"},
		},
		{
			name:     "a draining node hands over",
			addrs:    []election.Address{{Addr: x, Eligible: all[:2]}},
			draining: map[string]bool{"node1": true},
			claims:   []election.Claim{{Addr: x, Node: "node1", Seq: 1}},
			want:     map[netip.Addr]string{x: "node2"},
		},
		{
			name:     "a draining node keeps what nobody else may hold",
			addrs:    []election.Address{{Addr: x, Eligible: all[:1]}},
			draining: map[string]bool{"node1": true},
			claims:   []election.Claim{{Addr: x, Node: "node1", Seq: 1}},
			want:     map[netip.Addr]string{x: "node1"},
		},
		{
			name:  "nobody eligible: nobody announces",
			addrs: []election.Address{{Addr: x}, {Addr: z, Eligible: []string{"node2"}}},
			want:  map[netip.Addr]string{z: "node2"},
		},
		{
			name:   "a claim of an address that nobody wants gives no load",
			addrs:  []election.Address{{Addr: y, Eligible: []string{"node1"}}},
			claims: []election.Claim{{Addr: x, Node: "node1", Seq: 1}},
			want:   map[netip.Addr]string{y: "node1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := election.Plan(tt.addrs, tt.draining, merged(tt.claims))
			if diff := cmp.Diff(tt.want, got, cmpAddr); diff != "" {
				t.Errorf("Plan (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlanProperties checks what must hold whatever the cluster looks like.
func TestPlanProperties(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		var nodes []string
		for i := range 1 + rng.IntN(7) {
			nodes = append(nodes, fmt.Sprintf("node%d", i))
		}
		var addrs []election.Address
		for i := range rng.IntN(40) {
			addrs = append(addrs, election.Address{Addr: addr(fmt.Sprintf("10.0.0.%d", i)), Eligible: nodes})
		}
		plan := election.Plan(addrs, nil, election.Claims{})
		checkBalanced(t, seed, nodes, plan)

		rng.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
		if diff := cmp.Diff(plan, election.Plan(addrs, nil, election.Claims{}), cmpAddr); diff != "" {
			t.Fatalf("seed %d: the order of the addresses matters (-one +other):\n%s", seed, diff)
		}

		claims := election.Claims{}
		for a, node := range plan {
			claims.Merge(claims.Next(a, node))
		}
		checkLossMovesOnlyItsOwn(t, seed, rng, nodes, addrs, plan, claims)
	}
}

func checkBalanced(t *testing.T, seed uint64, nodes []string, plan map[netip.Addr]string) {
	t.Helper()
	load := map[string]int{}
	for _, node := range plan {
		load[node]++
	}
	lo, hi := len(plan), 0
	for _, node := range nodes {
		lo, hi = min(lo, load[node]), max(hi, load[node])
	}
	if hi-lo > 1 {
		t.Fatalf("seed %d: not balanced: %v", seed, load)
	}
}

// checkLossMovesOnlyItsOwn takes one node away and brings it back: only its addresses move, and none returns.
func checkLossMovesOnlyItsOwn(t *testing.T, seed uint64, rng *rand.Rand, nodes []string, addrs []election.Address,
	plan map[netip.Addr]string, claims election.Claims,
) {
	t.Helper()
	if len(nodes) < 2 {
		return
	}
	lost := nodes[rng.IntN(len(nodes))]
	rest := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return n == lost })
	during := election.Plan(eligible(addrs, rest), nil, claims)
	for a, node := range plan {
		switch {
		case node == lost && during[a] == lost:
			t.Fatalf("seed %d: %v stays with the lost node", seed, a)
		case node != lost && during[a] != node:
			t.Fatalf("seed %d: %v moves from %s to %s though %s was lost", seed, a, node, during[a], lost)
		}
	}
	checkBalanced(t, seed, rest, during)
	for a, node := range during {
		if claims[a].Node != node {
			claims.Merge(claims.Next(a, node))
		}
	}
	after := election.Plan(eligible(addrs, nodes), nil, claims)
	if diff := cmp.Diff(during, after, cmpAddr); diff != "" {
		t.Fatalf("seed %d: the returning node moves addresses (-before +after):\n%s", seed, diff)
	}
}

func eligible(addrs []election.Address, nodes []string) []election.Address {
	out := slices.Clone(addrs)
	for i := range out {
		out[i].Eligible = nodes
	}
	return out
}

// TestRankIsFixed: speakers of all versions must rank alike, or they would give an address to two nodes.
func TestRankIsFixed(t *testing.T) {
	for _, tt := range []struct {
		addr, node string
		want       uint64
	}{
		{"192.168.1.160", "node1", 17173580826111435703},
		{"192.168.1.160", "node2", 271259197322009731},
		{"fd00:1::160", "node1", 13663150764956326598},
	} {
		if got := election.Rank(addr(tt.addr), tt.node); got != tt.want {
			t.Errorf("%s gives %s the place %d, want %d", tt.addr, tt.node, got, tt.want)
		}
	}
}

// TestRankSpreads makes sure that names that differ in one letter are not ranked alike by all addresses.
func TestRankSpreads(t *testing.T) {
	first := map[string]int{}
	nodes := []string{"node1", "node2", "node3"}
	for i := range 3000 {
		a := netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)})
		first[slices.MinFunc(nodes, func(x, y string) int {
			if election.Rank(a, x) < election.Rank(a, y) {
				return -1
			}
			return 1
		})]++
	}
	for _, node := range nodes {
		if n := first[node]; n < 900 || n > 1100 {
			t.Errorf("%s is first for %d of 3000 addresses, want about 1000", node, n)
		}
	}
}

func BenchmarkPlan(b *testing.B) {
	nodes := []string{"node1", "node2", "node3"}
	var addrs []election.Address
	for i := range 1000 {
		addrs = append(addrs, election.Address{
			Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Eligible: nodes,
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		election.Plan(addrs, nil, election.Claims{})
	}
}
