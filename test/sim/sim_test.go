package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestSchedules runs some of what `make sim` runs.
func TestSchedules(t *testing.T) {
	var out, log bytes.Buffer
	r := runner{options: options{profile: measures}, schedules: 150, first: 1_000_001}
	if !r.run(&out, &log) {
		t.Errorf("promises were broken:\n%s", log.String())
	}
	var s summary
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatalf("summary %q: %v", out.String(), err)
	}
	if s.Schedules != r.schedules || s.MaxGap == 0 || s.MaxDuplicate == 0 {
		t.Errorf("summary %+v, want %d schedules and figures", s, r.schedules)
	}
}

// TestReplay requires that a seed takes the same course each time, and another one another.
func TestReplay(t *testing.T) {
	o := options{profile: measures, tracing: true}
	var logs [][]string
	for _, seed := range []uint64{5, 5, 6} {
		logs = append(logs, replay(seed, o).log)
	}
	if diff := gocmp.Diff(logs[0], logs[1]); diff != "" {
		t.Errorf("two runs of one seed differ (-first +second):\n%s", diff)
	}
	if len(logs[0]) < 10 || slices.Equal(logs[0], logs[2]) {
		t.Errorf("%d lines, and another seed's are the same: %v", len(logs[0]), slices.Equal(logs[0], logs[2]))
	}
	o.tracing = false
	if got, want := replay(5, o).claims, replay(5, options{profile: measures, tracing: true}).claims; got != want {
		t.Errorf("%d claims without a trace, %d with one", got, want)
	}
}

// TestMeasures requires that leaving out a measure is noticed: a promise is broken, or a figure gets worse.
func TestMeasures(t *testing.T) {
	if _, ok := measures.without("nonsense"); ok {
		t.Error("a measure that does not exist can be left out")
	}
	profile, _ := measures.without("all")
	r := runner{options: options{profile: profile}, schedules: 60, first: 1}
	if r.run(io.Discard, io.Discard) {
		t.Errorf("without any measure all promises are kept")
	}
}

// TestClock compares the queue of events with sorting.
func TestClock(t *testing.T) {
	c := newClock(1)
	r := rand.New(rand.NewPCG(1, 2))
	type entry struct {
		at time.Duration
		n  int
	}
	var want, got []entry
	for n := range 1000 {
		e := entry{time.Duration(r.IntN(100)) * time.Millisecond, n}
		want = append(want, e)
		c.after(e.at, func() { got = append(got, entry{c.now, e.n}) })
	}
	c.after(time.Hour, func() {})
	slices.SortStableFunc(want, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	c.run(time.Minute, func() {})
	if !slices.Equal(got, want) {
		t.Error("events came in another order than by time, and then as they were planned")
	}
}

// TestGrow requires plausible figures of a small cluster: the wire watch finds out within its bounds, the heartbeats later.
func TestGrow(t *testing.T) {
	tests := []struct {
		kind        faultKind
		least, most float64
	}{
		{powerFault, 80, 250}, {crashFault, 0, 100}, {pauseFault, 800, 4000},
	}
	for _, tt := range tests {
		g := grow(tt.kind, 3, 5, options{profile: measures})
		if g.MedianClaim < tt.least || g.MaxClaim > tt.most || g.MedianKnown < g.MedianClaim {
			t.Errorf("%v: %+v, want %v to %v ms", tt.kind, g, tt.least, tt.most)
		}
	}
}
