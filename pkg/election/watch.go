package election

import (
	"cmp"
	"slices"
	"time"
)

// The wire watch: a node asks others on the LAN for their own address, which their kernel answers, and misses the answers
// of one that is gone before any heartbeat of a process can be sure. See [Sentry] and [Silent].
const (
	// ProbeInterval is how often a watched node is asked.
	ProbeInterval = 100 * time.Millisecond
	// HurryInterval is how often one is asked whose answer is overdue.
	HurryInterval = 10 * time.Millisecond
	// minSilence and maxSilence bound how long a node may leave all questions unanswered.
	minSilence = 120 * time.Millisecond
	maxSilence = 600 * time.Millisecond
	// away is how long a node must have been silent to count as one that was gone and is back, and not as a slow one. After
	// perhapsAway that depends on how many of the questions it answers: one that is slow answers them all in the end.
	away        = time.Second
	perhapsAway = 200 * time.Millisecond
	// minProbes is how many questions it must have left unanswered.
	minProbes = 3
	// slackFactor is how many times longer than its slowest answer of late a node may be silent.
	slackFactor = 3
	// slackHalf is how long it takes for half of a slow answer to be forgotten.
	slackHalf = 30 * time.Second
	// maxWatchers is how many nodes watch one.
	maxWatchers = 3
)

// Sentry judges whether one node is still there. It takes no notice of how late it is called: a watcher that was held up
// must hand in the answers that have come meanwhile before it asks for the verdict.
type Sentry struct {
	known  bool      // it has ever answered
	asked  time.Time // when the first of the questions was sent that are unanswered
	probes int       // how many these are
	slack  time.Duration
	since  time.Time // when slack was brought up to date
	gone   bool      // the node's kernel says that its speaker has ended
	unable bool      // since the last answer a question could not be sent
}

// Asked notes that a question was sent.
func (s *Sentry) Asked(now time.Time) {
	if s.probes == 0 {
		s.asked = now
	}
	s.probes++
}

// Unable notes that a question could not be sent, as the watcher has no link. Answers to those before may be lost as well, so the next
// one says nothing about how slow the node is.
func (s *Sentry) Unable() { s.unable = true }

// Answered notes that so many answers have come. Nor does the first one say anything about that: the node may have come up only then.
func (s *Sentry) Answered(now time.Time, answers int) {
	s.forget(now)
	if late := now.Sub(s.asked); s.known && !s.unable && s.probes > 0 && (late < perhapsAway || late < away && 2*answers >= s.probes) {
		s.slack = max(s.slack, late)
	}
	s.known, s.unable, s.probes = true, false, 0
}

// Gone notes whether the node's kernel says that there is no speaker any more.
func (s *Sentry) Gone(gone bool) { s.gone = gone }

// Silent reports whether the node is taken for dead. One that has never answered is not: it may be out of reach for such
// questions.
func (s *Sentry) Silent(now time.Time) bool { return s.gone || s.Mute(now) }

// Mute reports whether the node's kernel does not answer, though it has before. One whose speaker has ended is not mute: that
// it says so shows that it is in reach.
func (s *Sentry) Mute(now time.Time) bool {
	return s.known && s.probes >= minProbes && now.Sub(s.asked) >= s.patience(now)
}

// Overdue reports whether an answer is awaited, and the node not taken for dead yet. Then it should be asked each HurryInterval: a
// lost frame is made up for, and a node that is gone found out.
func (s *Sentry) Overdue(now time.Time) bool { return s.known && s.probes > 0 && !s.Silent(now) }

// Missing returns for how long the node has left questions unanswered.
func (s *Sentry) Missing(now time.Time) time.Duration {
	if s.probes == 0 {
		return 0
	}
	return now.Sub(s.asked)
}

// patience returns how long the node may be silent: longer if it was slow of late.
func (s *Sentry) patience(now time.Time) time.Duration {
	s.forget(now)
	return min(max(slackFactor*s.slack, minSilence), maxSilence)
}

// forget halves slack for each slackHalf that has passed.
func (s *Sentry) forget(now time.Time) {
	if s.since.IsZero() {
		s.since = now
	}
	for now.Sub(s.since) >= slackHalf {
		s.slack /= 2
		s.since = s.since.Add(slackHalf)
		if s.slack == 0 {
			s.since = now
		}
	}
}

// SeekInterval returns how often a node is asked that should be a member and has not been for so long: its answer is the first sign
// that a partition is over. A node that is gone for good is asked ever more rarely.
func SeekInterval(missing time.Duration) time.Duration {
	return min(max(missing/50, ProbeInterval), time.Second)
}

// Watchers returns those of nodes that watch target: all others, or, in a large cluster, the maxWatchers that follow it on a
// ring on which the nodes lie in the order of their hashes. So each node has as many to watch as watch it. Every node computes the
// same.
func Watchers(target string, nodes []string) []string { return newRing(nodes).next(target, 1) }

// Targets returns those of nodes that node watches, sorted.
func Targets(node string, nodes []string) []string {
	out := newRing(nodes).next(node, -1)
	slices.Sort(out)
	return out
}

// ring holds nodes in the order of their hashes.
type ring []string

func newRing(nodes []string) ring {
	type place struct {
		hash uint64
		node string
	}
	places := make([]place, 0, len(nodes))
	for _, n := range nodes {
		places = append(places, place{hash("ring", n), n})
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.node, b.node)) })
	r := make(ring, 0, len(nodes))
	for _, p := range places {
		r = append(r, p.node)
	}
	return r
}

// next returns up to maxWatchers nodes that follow node (step 1) or go before it (step -1); none if it is not on the ring.
func (r ring) next(node string, step int) []string {
	at := slices.Index(r, node)
	if at < 0 {
		return nil
	}
	out := make([]string, 0, maxWatchers)
	for i := range min(len(r)-1, maxWatchers) {
		out = append(out, r[(at+step*(i+1)+maxWatchers*len(r))%len(r)])
	}
	return out
}

// Silent returns those of nodes, as node sees it, that are dead on the wire: more than half of their watchers say so. reports
// holds whom each node finds silent. A watcher that node itself finds silent, or that is dead by the word of its own watchers,
// has no voice. Node itself is never silent to itself.
//
// One watcher alone is not believed if there are others: it may be the one that is cut off.
func Silent(node string, nodes []string, reports map[string][]string) map[string]bool {
	said := make(map[string]bool) // to be silent, by any node
	for _, silent := range reports {
		for _, n := range silent {
			said[n] = n != node
		}
	}
	mute := make(map[string]bool) // those that have no voice
	for _, n := range reports[node] {
		mute[n] = true
	}
	ring := newRing(nodes)
	out := make(map[string]bool)
	for {
		var found []string
		for _, target := range ring {
			if said[target] && !out[target] && outvoted(target, ring, reports, mute) {
				found = append(found, target)
			}
		}
		if len(found) == 0 {
			return out
		}
		for _, target := range found {
			out[target], mute[target] = true, true
		}
	}
}

// outvoted reports whether more than half of target's watchers find it silent, those in mute not counted.
func outvoted(target string, r ring, reports map[string][]string, mute map[string]bool) bool {
	voters, votes := 0, 0
	for _, w := range r.next(target, 1) {
		if mute[w] {
			continue
		}
		voters++
		if slices.Contains(reports[w], target) {
			votes++
		}
	}
	return 2*votes > voters
}
