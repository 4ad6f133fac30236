package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestScheduleIsAFunctionOfItsSeed(t *testing.T) {
	for seed := range uint64(50) {
		a, b := draw(seed, 10*time.Minute, nodeNames, false), draw(seed, 10*time.Minute, nodeNames, false)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("seed %d twice (-first +second):\n%s", seed, diff)
		}
		if other := draw(seed+1000, 10*time.Minute, nodeNames, false); cmp.Equal(a, other) {
			t.Errorf("seeds %d and %d give the same schedule", seed, seed+1000)
		}
		// A longer run begins like a shorter one, so what a long run found can be found again in a short one.
		if diff := cmp.Diff(a, draw(seed, 20*time.Minute, nodeNames, false)[:len(a)]); diff != "" {
			t.Errorf("seed %d, longer (-short +long):\n%s", seed, diff)
		}
	}
}

// TestScheduleKeepsItsRules draws many schedules and looks at each round.
func TestScheduleKeepsItsRules(t *testing.T) {
	for seed := range uint64(200) {
		rounds := draw(seed, 30*time.Minute, nodeNames, true)
		seen, number := map[string]int{}, 0
		for n, r := range rounds {
			for i, f := range r {
				number++
				if f.Number != number {
					t.Fatalf("seed %d, round %d: %s, want number %d", seed, n, f, number)
				}
				seen[f.Kind]++
				checkFault(t, f)
				for _, o := range r[:i] {
					if clash(f.Kind, o.Kind) || f.Node != "" && f.Node == o.Node {
						t.Errorf("seed %d, round %d: %s together with %s", seed, n, f, o)
					}
				}
			}
		}
		for _, p := range append(slices.Clone(plans), clockPlan) {
			if seen[p.kind] < 2 {
				t.Errorf("seed %d: %s comes %d times in half an hour", seed, p.kind, seen[p.kind])
			}
		}
	}
}

func checkFault(t *testing.T, f Fault) {
	t.Helper()
	i := slices.IndexFunc(plans, func(p planned) bool { return p.kind == f.Kind })
	p := clockPlan
	if i >= 0 {
		p = plans[i]
	}
	if f.Length < p.short || f.Length > p.longer || f.After < 0 {
		t.Errorf("%s after %s: want %s to %s", f, f.After, p.short, p.longer)
	}
	if (f.Node != "") != p.node {
		t.Errorf("%s: want a node: %t", f, p.node)
	}
	apart := slices.DeleteFunc(slices.Clone(f.Apart), func(h string) bool { return h == controlPlane })
	if f.Kind == "partition" && (len(apart) == 0 || len(apart) == len(nodeNames)) || f.Kind != "partition" && f.Apart != nil {
		t.Errorf("%s: %v are apart", f, f.Apart)
	}
}

func TestClockIsDrawnOnRequestOnly(t *testing.T) {
	for seed := range uint64(50) {
		for _, r := range draw(seed, 30*time.Minute, nodeNames, false) {
			for _, f := range r {
				if f.Kind == clockPlan.kind {
					t.Fatalf("seed %d: %s", seed, f)
				}
			}
		}
	}
}

// TestKindsAreDone looks for kinds that nobody knows how to do, and the other way round.
func TestKindsAreDone(t *testing.T) {
	all := append(slices.Clone(plans), clockPlan)
	for _, p := range all {
		if deeds[p.kind].inject == nil {
			t.Errorf("%s has no deed", p.kind)
		}
	}
	if len(deeds) != len(all) {
		t.Errorf("%d kinds have deeds, want %d", len(deeds), len(all))
	}
}
