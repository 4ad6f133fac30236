package election_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/election"
)

// watcher asks a node as a watch does, on a clock of its own.
type watcher struct {
	election.Sentry
	now time.Time
}

// ask asks for d; each question is answered after delay, or not at all if that is negative. It returns after how long the
// node was found silent, 0 if it was not.
func (w *watcher) ask(d, delay time.Duration) (silentAfter time.Duration) {
	for begin := w.now; w.now.Sub(begin) < d; w.now = w.now.Add(w.pause()) {
		w.Asked(w.now)
		if delay >= 0 {
			w.Answered(w.now.Add(delay), 1)
		}
		if silentAfter == 0 && w.Silent(w.now) {
			silentAfter = w.now.Sub(begin)
		}
	}
	return silentAfter
}

func (w *watcher) pause() time.Duration {
	if w.Overdue(w.now) {
		return election.HurryInterval
	}
	return election.ProbeInterval
}

func TestSentry(t *testing.T) {
	tests := []struct {
		name        string
		watch       func(w *watcher) time.Duration
		least, most time.Duration
	}{
		{"it answers", func(w *watcher) time.Duration { return w.ask(time.Minute, time.Millisecond) }, 0, 0},
		{"it has never answered", func(w *watcher) time.Duration { return w.ask(time.Minute, -1) }, 0, 0},
		{"it falls silent", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			return w.ask(time.Second, -1)
		}, 120 * time.Millisecond, 160 * time.Millisecond},
		{"it was slow a moment ago", func(w *watcher) time.Duration {
			w.ask(time.Second, 80*time.Millisecond)
			return w.ask(time.Second, -1)
		}, 240 * time.Millisecond, 280 * time.Millisecond},
		{"it was very slow", func(w *watcher) time.Duration {
			w.ask(time.Second, 700*time.Millisecond)
			return w.ask(time.Second, -1)
		}, 600 * time.Millisecond, 640 * time.Millisecond},
		{"it was away for half a second and is back", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.ask(500*time.Millisecond, -1)
			w.Answered(w.now, 1)
			w.ask(time.Second, time.Millisecond)
			return w.ask(time.Second, -1)
		}, 120 * time.Millisecond, 160 * time.Millisecond},
		{"it stood still for half a second and answers all", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.ask(500*time.Millisecond, -1)
			w.Answered(w.now, 10)
			w.ask(time.Second, time.Millisecond)
			return w.ask(time.Second, -1)
		}, 600 * time.Millisecond, 640 * time.Millisecond},
		{"it was away and is back", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.ask(3*time.Second, -1)
			w.ask(time.Second, time.Millisecond)
			return w.ask(time.Second, -1)
		}, 120 * time.Millisecond, 160 * time.Millisecond},
		{"it was met again while its link came up", func(w *watcher) time.Duration {
			w.ask(150*time.Millisecond, -1)
			w.Answered(w.now, 1)
			w.ask(time.Second, time.Millisecond)
			return w.ask(time.Second, -1)
		}, 120 * time.Millisecond, 160 * time.Millisecond},
		{"the watcher had no link for a moment", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.Asked(w.now)
			w.now = w.now.Add(election.ProbeInterval)
			w.Unable()
			w.now = w.now.Add(election.ProbeInterval)
			w.Answered(w.now, 1)
			w.ask(time.Second, time.Millisecond)
			return w.ask(time.Second, -1)
		}, 120 * time.Millisecond, 160 * time.Millisecond},
		{"it was slow long ago", func(w *watcher) time.Duration {
			w.ask(time.Second, 80*time.Millisecond)
			w.ask(5*time.Minute, time.Millisecond)
			return w.ask(time.Second, -1)
		}, 120 * time.Millisecond, 160 * time.Millisecond},
		{"the watcher was held up, and the answer is there", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.Asked(w.now)
			w.now = w.now.Add(5 * time.Second)
			w.Answered(w.now, 1)
			return w.ask(time.Second, time.Millisecond)
		}, 0, 0},
		{"the watcher was held up, and could not ask", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.Asked(w.now)
			w.now = w.now.Add(5 * time.Second)
			if w.Silent(w.now) {
				return time.Hour
			}
			return 0
		}, 0, 0},
		{"its speaker has ended", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.Gone(true)
			if w.Silent(w.now) {
				return 1
			}
			return 0
		}, 1, 1},
		{"its speaker has ended: it is not mute", func(w *watcher) time.Duration {
			w.ask(time.Second, time.Millisecond)
			w.Gone(true)
			if w.Mute(w.now) {
				return 1
			}
			return 0
		}, 0, 0},
		{"its speaker is back", func(w *watcher) time.Duration {
			w.Gone(true)
			w.Gone(false)
			return w.ask(time.Second, time.Millisecond)
		}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &watcher{now: time.Unix(1000, 0)}
			if got := tt.watch(w); got < tt.least || got > tt.most {
				t.Errorf("silent after %v, want %v to %v", got, tt.least, tt.most)
			}
		})
	}
}

func TestWatchers(t *testing.T) {
	for n := range 12 {
		var nodes []string
		for i := range n {
			nodes = append(nodes, fmt.Sprintf("node%02d", i))
		}
		watched := map[string]int{}
		for _, node := range nodes {
			targets := election.Targets(node, nodes)
			if want := min(n-1, 3); len(targets) != want {
				t.Errorf("of %d nodes, %s watches %v, want %d", n, node, targets, want)
			}
			for _, target := range targets {
				watched[target]++
				if target == node {
					t.Errorf("of %d nodes, %s watches itself", n, node)
				}
			}
		}
		for _, node := range nodes {
			want := min(n-1, 3)
			if got := election.Watchers(node, nodes); len(got) != want || watched[node] != want || slices.Contains(got, node) {
				t.Errorf("of %d nodes, %v watch %s and %d say so, want %d", n, got, node, watched[node], want)
			}
		}
	}
}

func TestSilent(t *testing.T) {
	tests := []struct {
		name    string
		nodes   []string
		reports map[string][]string
		want    map[string]bool
	}{
		{"all is well", nodes, nil, nil},
		{"both watchers say so", nodes, map[string][]string{"node1": {"node2"}, "node3": {"node2"}}, map[string]bool{"node2": true}},
		{"only this node says so", nodes, map[string][]string{"node1": {"node2"}}, nil},
		{"only the other one does", nodes, map[string][]string{"node3": {"node2"}}, nil},
		{"what is said of this node itself", nodes, map[string][]string{"node2": {"node1"}, "node3": {"node1"}}, nil},
		{
			"the other watcher is silent, too", nodes,
			map[string][]string{"node1": {"node2", "node3"}},
			map[string]bool{"node2": true, "node3": true},
		},
		{"a cut-off node's word for it", nodes, map[string][]string{"node1": {"node3"}, "node3": {"node1", "node2"}}, nil},
		{"two nodes", nodes[:2], map[string][]string{"node1": {"node2"}}, map[string]bool{"node2": true}},
		{
			"two of three watchers",
			[]string{"node1", "node2", "node3", "node4"},
			map[string][]string{"node1": {"node4"}, "node3": {"node4"}},
			map[string]bool{"node4": true},
		},
		{
			"one of three watchers",
			[]string{"node1", "node2", "node3", "node4"},
			map[string][]string{"node3": {"node4"}},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := election.Silent("node1", tt.nodes, tt.reports)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSilentInPartition is about a node all but one of whose watchers are gone together with it, as the nodes on the other side of
// a partition are. Their watchers say so.
func TestSilentInPartition(t *testing.T) {
	var nodes []string
	for i := range 9 {
		nodes = append(nodes, fmt.Sprintf("node%d", i))
	}
	target := nodes[0]
	watchers := election.Watchers(target, nodes)
	gone := map[string]bool{target: true, watchers[1]: true, watchers[2]: true}
	reports := map[string][]string{}
	for dead := range gone {
		for _, w := range election.Watchers(dead, nodes) {
			if !gone[w] {
				reports[w] = append(reports[w], dead)
			}
		}
	}
	for _, node := range nodes {
		if gone[node] {
			continue
		}
		if diff := cmp.Diff(gone, election.Silent(node, nodes, reports)); diff != "" {
			t.Errorf("as %s sees it (-want +got):\n%s", node, diff)
		}
	}
}

// TestNodeThatMayBeCutOff is about a node that loses all of several peers at once.
func TestNodeThatMayBeCutOff(t *testing.T) {
	w := start(vip, other)
	w.Known = 3
	w.claim(vip, "node1", 1)
	w.claim(other, "node2", 1)
	w.decide()
	w.Live = map[string]bool{"node1": true}
	w.want(nodes[:1], vip, other)
	w.Deaf = true
	wantDecision(t, "the wire is silent", w.decide(), election.Decision{Hold: vips(vip)})
	w.Alone = true
	wantDecision(t, "the heartbeats, too", w.decide(), election.Decision{Hold: vips(vip), Quiet: vips(other)})
	w.Bystanders = true
	wantDecision(t, "other hosts are heard", w.decide(), election.Decision{Hold: vips(vip), Lone: vips(other)})
	w.Bystanders = false
	wantDecision(t, "and are not any more", w.decide(), election.Decision{Hold: vips(vip), Quiet: vips(other)})

	const fresh = "192.168.1.162"
	free := false
	w.Free = func(a netip.Addr) bool { return free && a == addr(fresh) }
	w.want(nodes[:1], vip, other, addr(fresh))
	wantDecision(t, "nobody has ever had the third one", w.decide(), election.Decision{
		Hold: vips(vip), Quiet: vips(other), Probe: vips(addr(fresh)),
	})
	free = true
	wantDecision(t, "the LAN knows nobody who has it", w.decide(), election.Decision{Hold: vips(vip), Quiet: vips(other, addr(fresh))})
	free, w.Bystanders = false, true // it is not asked for any more
	wantDecision(t, "it is served now", w.decide(), election.Decision{Hold: vips(vip), Lone: vips(other, addr(fresh))})
	w.want(nodes[:1], vip, other)
	w.decide()
	w.Bystanders = false

	w.Known = 2
	wantDecision(t, "there was only one peer", w.decide(), election.Decision{
		Hold: vips(vip, other), Claims: []election.Claim{{Addr: other, Node: "node1", Seq: 2}},
	})
}
