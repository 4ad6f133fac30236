package cluster

import (
	"cmp"
	"slices"
	"time"
)

// Lapse is for how long one who answers may be silent. It is longer than what a busy machine makes of [AskInterval], and answers
// that are further apart count as two times of answering.
const Lapse = 250 * time.Millisecond

// AnswerGap returns the longest time from a request to the next answer, of those that had been asked since the answer before.
// Requests after the end don't count. A request nobody was there to make, on a machine that is busy, makes no gap.
func AnswerGap(asked []time.Time, replies []Sighting, end time.Time) (gap time.Duration) {
	for i := 1; i < len(replies); i++ {
		q, _ := slices.BinarySearchFunc(asked, replies[i-1].At, func(a, b time.Time) int {
			return cmp.Or(a.Compare(b), -1) // the first one after
		})
		if q < len(asked) && asked[q].Before(end) {
			gap = max(gap, replies[i].At.Sub(asked[q]))
		}
	}
	return gap
}

// Span is a time in which a MAC answered without a [Lapse].
type Span struct {
	MAC         string
	First, Last time.Time
}

// Spans returns the spans of all MACs, in the order in which they began. Replies are in the order of their times.
func Spans(replies []Sighting) (spans []Span) {
	current := map[string]int{}
	for _, r := range replies {
		if i, ok := current[r.MAC]; ok && r.At.Sub(spans[i].Last) <= Lapse {
			spans[i].Last = r.At
			continue
		}
		current[r.MAC] = len(spans)
		spans = append(spans, Span{r.MAC, r.At, r.At})
	}
	return spans
}

// Duplicate returns the longest time in which two MACs answered.
func Duplicate(spans []Span) (longest time.Duration) {
	for i, a := range spans {
		for _, b := range spans[i+1:] {
			if b.MAC == a.MAC {
				continue
			}
			begin, end := b.First, a.Last // b began later
			if b.Last.Before(end) {
				end = b.Last
			}
			longest = max(longest, end.Sub(begin))
		}
	}
	return longest
}
