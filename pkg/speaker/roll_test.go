package speaker

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRoll: a roll call, which takes a second here, is made while it is needed, one at a time and ever more rarely.
func TestRoll(t *testing.T) {
	const ms, second = time.Millisecond, time.Second
	for _, tc := range []struct {
		name        string
		needed      []time.Duration // since when
		deaf        []time.Duration // the same, and nobody is heard
		not         []time.Duration
		calls, news []time.Duration // the second call is the first that brings news
	}{
		{
			name: "for good", needed: []time.Duration{0, 100 * ms},
			calls: []time.Duration{300 * ms, 2300 * ms, 5300 * ms, 10300 * ms, 15300 * ms},
			news:  []time.Duration{3300 * ms, 6300 * ms, 11300 * ms, 16300 * ms},
		},
		{
			name: "at once", deaf: []time.Duration{0, 100 * ms}, not: []time.Duration{1100 * ms},
			calls: []time.Duration{0},
		},
		{
			name: "at once after all", needed: []time.Duration{0}, deaf: []time.Duration{100 * ms, 200 * ms}, not: []time.Duration{1100 * ms},
			calls: []time.Duration{100 * ms},
		},
		{name: "not for long", needed: []time.Duration{0}, not: []time.Duration{200 * ms}},
		{
			name: "until the first one is over", needed: []time.Duration{0}, not: []time.Duration{second},
			calls: []time.Duration{300 * ms},
		},
		{
			name: "twice", needed: []time.Duration{0, 10 * second}, not: []time.Duration{second},
			calls: []time.Duration{300 * ms, 10300 * ms, 12300 * ms, 15300 * ms},
			news:  []time.Duration{11300 * ms, 13300 * ms, 16300 * ms},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var calls, news []time.Duration
				r := &roll{
					call: func() bool {
						calls = append(calls, time.Since(begin))
						time.Sleep(second)
						return len(calls) > 1
					},
					onNews: func() { news = append(news, time.Since(begin)) },
				}
				for _, at := range tc.needed {
					time.AfterFunc(at, func() { r.note(true, false) })
				}
				for _, at := range tc.deaf {
					time.AfterFunc(at, func() { r.note(true, true) })
				}
				for _, at := range tc.not {
					time.AfterFunc(at, func() { r.note(false, false) })
				}
				time.Sleep(20 * second)
				synctest.Wait()
				if diff := cmp.Diff([][]time.Duration{tc.calls, tc.news}, [][]time.Duration{calls, news}); diff != "" {
					t.Errorf("calls, and those that brought news (-want +got):\n%s", diff)
				}
				r.note(false, false)
				time.Sleep(rollLater + 2*second) // until it has ended
			})
		})
	}
}

func TestInQuestion(t *testing.T) {
	few := []string{"node1", "node2", "node3", "node4"}
	many := slices.Clone(few)
	for i := range rollForOthers {
		many = append(many, fmt.Sprintf("other%d", i))
	}
	type says map[string][]string
	for _, tc := range []struct {
		name    string
		nodes   []string
		reports says
		silent  []string
		want    bool
	}{
		{name: "nobody is silent", nodes: few, reports: says{"node1": nil, "node2": nil}},
		{name: "by the word of enough", nodes: few, reports: says{"node1": {"node3"}, "node2": {"node3"}}, silent: []string{"node3"}},
		{name: "by that of this one", nodes: few, reports: says{"node1": {"node3"}, "node2": nil}, want: true},
		{name: "by that of another", nodes: few, reports: says{"node2": {"node3"}}, want: true},
		{name: "by that of another of two", nodes: few, reports: says{"node2": {"node3", "node4"}}, silent: []string{"node3"}, want: true},
		{name: "by that of one that is silent itself", nodes: few, reports: says{"node3": {"node1"}}, silent: []string{"node3"}},
		{name: "it is no member", nodes: few, reports: says{"node2": {"node9"}}},
		{name: "by that of another of many", nodes: many, reports: says{"node2": {"node3"}}},
		{name: "by that of this one of many", nodes: many, reports: says{"node1": {"node3"}}, want: true},
	} {
		silent := map[string]bool{}
		for _, n := range tc.silent {
			silent[n] = true
		}
		if got := inQuestion("node1", tc.nodes, tc.reports, silent); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
