package main

import (
	"errors"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// line is what is printed for a round.
type line struct {
	Kind  string `json:"kind"`
	Round int    `json:"round"`
	// Failover is for how long new connections failed, from the fault until it was undone. For speaker-kill it is AnswerGap;
	// for mass-1000 the time until the last address was announced by another node.
	Failover float64 `json:"failover_ms"`
	// What concerns one address; the kind mass-1000 doesn't have it.
	*lineOfOne
	// What concerns many.
	*lineOfMany
}

// lineOfOne is what a round with one address adds.
type lineOfOne struct {
	// Failed is how many connections failed, from the fault until it was undone, and FailedOnReturn after that.
	Failed         int `json:"failed"`
	FailedOnReturn int `json:"failed_on_return"`
	// Straddled is how many connections were reset because their handshake was under way at a move; see straddled.
	Straddled int `json:"straddled"`
	// AnswerGap is for how long a client that asked by ARP got no answer, from the fault until it was undone.
	AnswerGap float64 `json:"answer_gap_ms"`
	// Duplicate is for how long two nodes answered, at any time of the round.
	Duplicate float64 `json:"duplicate_ms"`
	// Moves is 1 if undoing the fault changed who answers.
	Moves int `json:"moves_on_return"`
}

// lineOfMany is what a round with many addresses adds.
type lineOfMany struct {
	Addresses int `json:"addresses"`
	// First and P50 are the times until the first address and half of them were announced by another node.
	First float64 `json:"first_ms"`
	P50   float64 `json:"p50_ms"`
}

// summary is what is printed for a kind.
type summary struct {
	Summary bool    `json:"summary"`
	Kind    string  `json:"kind"`
	Rounds  int     `json:"rounds"`
	P50     float64 `json:"p50_ms"`
	Max     float64 `json:"max_ms"`
	// DuplicateMax is null for a kind in which it is not measured.
	DuplicateMax *float64 `json:"duplicate_max_ms"`
}

// summarize sums up the lines of a kind, of which there is at least one.
func summarize(kind string, lines []line) summary {
	s := summary{Summary: true, Kind: kind, Rounds: len(lines)}
	var failovers []float64
	for _, l := range lines {
		failovers = append(failovers, l.Failover)
		if l.lineOfOne != nil && (s.DuplicateMax == nil || l.Duplicate > *s.DuplicateMax) {
			s.DuplicateMax = &l.Duplicate
		}
	}
	s.P50, s.Max = median(failovers), slices.Max(failovers)
	return s
}

// median returns the middle of the values, or the mean of the two in the middle. There is at least one.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return tenths((v[(len(v)-1)/2] + v[len(v)/2]) / 2)
}

// milliseconds rounds to a tenth.
func milliseconds(d time.Duration) float64 { return tenths(float64(d) / float64(time.Millisecond)) }

func tenths(v float64) float64 { return math.Round(v*10) / 10 }

// evaluate makes the line of a round out of what was seen from the fault on.
func evaluate(k kind, t times, attempts []cluster.Attempt, asked []time.Time, replies []cluster.Sighting, nodes int) line {
	rest, straddled := straddled(attempts, nodes)
	i := slices.IndexFunc(rest, func(a cluster.Attempt) bool { return !a.Start.Before(t.undo) })
	if i < 0 {
		i = len(rest)
	}
	gap, _ := cluster.Outage(rest[:i])
	silence := cluster.AnswerGap(asked, replies, t.undo)
	if k.answers {
		gap = silence
	}
	return line{Failover: milliseconds(gap), lineOfOne: &lineOfOne{
		Failed: failures(rest[:i]), FailedOnReturn: failures(rest[i:]), Straddled: straddled,
		AnswerGap: milliseconds(silence), Duplicate: milliseconds(cluster.Duplicate(cluster.Spans(replies))),
	}}
}

func failures(attempts []cluster.Attempt) (n int) {
	for _, a := range attempts {
		if a.Err != nil {
			n++
		}
	}
	return n
}

// straddled takes out the attempts that were reset, and returns how many they are. Their first packet went to the former
// node, which knows the connection and answered, and the next one to the new node, which does not. No announcement can save
// these; but there can't be many at one move. If there are more than most, they are what they look like, and stay.
func straddled(attempts []cluster.Attempt, most int) (rest []cluster.Attempt, n int) {
	for _, a := range attempts {
		if errors.Is(a.Err, syscall.ECONNRESET) {
			n++
		} else {
			rest = append(rest, a)
		}
	}
	if n > most {
		return attempts, 0
	}
	return rest, n
}
