package main

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/test/cluster"
)

var epoch = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// at is a moment, in milliseconds.
func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

// every returns a moment each 5 ms, from and to included.
func every(from, to int) (out []time.Time) {
	for ms := from; ms <= to; ms += 5 {
		out = append(out, at(ms))
	}
	return out
}

// replies returns a reply of a MAC each 5 ms.
func replies(mac string, from, to int) (out []cluster.Sighting) {
	for _, t := range every(from, to) {
		out = append(out, cluster.Sighting{At: t, MAC: mac})
	}
	return out
}

// merge brings replies into the order of their times.
func merge(lists ...[]cluster.Sighting) (out []cluster.Sighting) {
	for ms := range 5000 {
		for _, list := range lists {
			for _, r := range list {
				if r.At.Equal(at(ms)) {
					out = append(out, r)
				}
			}
		}
	}
	return out
}

func TestDuplicate(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replies []cluster.Sighting
		spans   int
		want    int
	}{
		{name: "nobody"},
		{name: "one", replies: replies("a", 0, 1000), spans: 1},
		{name: "clean move", replies: merge(replies("a", 0, 500), replies("b", 505, 1000)), spans: 2},
		{name: "overlap", replies: merge(replies("a", 0, 540), replies("b", 500, 1000)), spans: 2, want: 40},
		{name: "one inside the other", replies: merge(replies("a", 0, 1000), replies("b", 500, 530)), spans: 2, want: 30},
		{
			name: "there and back is no overlap", spans: 3,
			replies: merge(replies("a", 0, 500), replies("b", 505, 1000), replies("a", 1005, 1500)),
		},
		{
			name: "the longest of two", spans: 3, want: 60,
			replies: merge(replies("a", 0, 540), replies("b", 500, 1060), replies("c", 1000, 1500)),
		},
		{name: "one reply of a second", replies: merge(replies("a", 0, 500), replies("b", 200, 200)), spans: 2},
		{name: "a lapse", replies: merge(replies("a", 0, 500), replies("a", 751, 1000)), spans: 2},
		{name: "almost a lapse", replies: merge(replies("a", 0, 500), replies("a", 750, 1000)), spans: 1},
	} {
		spans := cluster.Spans(tt.replies)
		if got := cluster.Duplicate(spans); len(spans) != tt.spans || got != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("%s: got %d spans, %s, want %d, %d ms", tt.name, len(spans), got, tt.spans, tt.want)
		}
	}
}

func TestAnswerGap(t *testing.T) {
	for _, tt := range []struct {
		name    string
		asked   []time.Time
		replies []cluster.Sighting
		want    int
	}{
		{name: "nothing"},
		{name: "each answered 1 ms later", asked: every(0, 100), replies: replies("a", 1, 101), want: 1},
		{name: "a hole", asked: every(0, 500), replies: merge(replies("a", 1, 101), replies("b", 301, 501)), want: 196},
		{
			name: "nobody asked in the hole", want: 1,
			asked: append(every(0, 100), every(300, 500)...), replies: merge(replies("a", 1, 101), replies("a", 301, 501)),
		},
		{name: "a hole after the end", asked: every(0, 900), replies: merge(replies("a", 1, 601), replies("b", 801, 901)), want: 1},
	} {
		if got := cluster.AnswerGap(tt.asked, tt.replies, at(600)); got != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("%s: got %s, want %d ms", tt.name, got, tt.want)
		}
	}
}

// attempts returns an attempt each 5 ms, of which those failed with err that began between the two moments.
func attempts(to, failFrom, failTo int, err error) (out []cluster.Attempt) {
	for _, t := range every(0, to) {
		a := cluster.Attempt{Start: t}
		if !t.Before(at(failFrom)) && !t.After(at(failTo)) {
			a.Err = err
		}
		out = append(out, a)
	}
	return out
}

func TestEvaluate(t *testing.T) {
	clean := replies("a", 0, 1000)
	for _, tt := range []struct {
		name     string
		kind     kind
		attempts []cluster.Attempt
		replies  []cluster.Sighting
		want     line
	}{
		{
			name: "outage", attempts: attempts(1000, 10, 200, os.ErrDeadlineExceeded),
			replies: merge(replies("a", 0, 10), replies("b", 200, 1000)),
			want:    line{Failover: 195, lineOfOne: &lineOfOne{Failed: 39, AnswerGap: 185}},
		},
		{
			name: "of answers", kind: kind{answers: true}, attempts: attempts(1000, 1, 0, nil),
			replies: merge(replies("a", 0, 10), replies("b", 200, 1000)),
			want:    line{Failover: 185, lineOfOne: &lineOfOne{AnswerGap: 185}},
		},
		{
			name: "resets", attempts: attempts(1000, 10, 20, syscall.ECONNRESET), replies: clean,
			want: line{lineOfOne: &lineOfOne{Straddled: 3}},
		},
		{
			name: "too many resets", attempts: attempts(1000, 10, 25, syscall.ECONNRESET), replies: clean,
			want: line{Failover: 20, lineOfOne: &lineOfOne{Failed: 4}},
		},
		{
			name: "failure on return", attempts: attempts(1000, 500, 510, os.ErrDeadlineExceeded),
			replies: merge(clean, replies("b", 500, 520)),
			want:    line{lineOfOne: &lineOfOne{FailedOnReturn: 3, Duplicate: 20}},
		},
	} {
		got := evaluate(tt.kind, times{fault: at(0), undo: at(500)}, tt.attempts, every(0, 1000), tt.replies, 3)
		// Each reply comes at the very moment of its request.
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(line{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 3, 2.5}, 2.8},
	} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.values, got, tt.want)
		}
	}
}

func TestLinesAreFlat(t *testing.T) {
	one := line{Kind: "k", Round: 1, Failover: 2.5, lineOfOne: &lineOfOne{Failed: 3, Duplicate: 4, Moves: 1, AnswerGap: 5}}
	other := line{Kind: "k", Round: 2, Failover: 3.5, lineOfOne: &lineOfOne{Failed: 1, Duplicate: 2, Straddled: 1}}
	many := line{Kind: "m", Round: 1, Failover: 9, lineOfMany: &lineOfMany{Addresses: 3, First: 1, P50: 2}}
	for _, tt := range []struct {
		value any
		want  string
	}{
		{one, `{"kind":"k","round":1,"failover_ms":2.5,"failed":3,"failed_on_return":0,"straddled":0,` +
			`"answer_gap_ms":5,"duplicate_ms":4,"moves_on_return":1}`},
		{many, `{"kind":"m","round":1,"failover_ms":9,"addresses":3,"first_ms":1,"p50_ms":2}`},
		{summarize("k", []line{one, other}), `{"summary":true,"kind":"k","rounds":2,"p50_ms":3,"max_ms":3.5,` +
			`"duplicate_max_ms":4}`},
		{summarize("m", []line{many}), `{"summary":true,"kind":"m","rounds":1,"p50_ms":9,"max_ms":9,"duplicate_max_ms":null}`},
	} {
		got, err := json.Marshal(tt.value)
		if diff := cmp.Diff(tt.want, string(got)); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestOnly(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replies []cluster.Sighting
		now     int
		want    string
	}{
		{name: "long enough", replies: replies("a", 0, 1000), now: 1005, want: "a"},
		{name: "too short", replies: replies("a", 0, 995), now: 1000},
		{name: "silent by now", replies: replies("a", 0, 1000), now: 1251},
		{name: "two", replies: merge(replies("a", 0, 1000), replies("b", 500, 500)), now: 1005},
		{name: "none", now: 1000},
	} {
		if got, err := only(tt.replies, at(tt.now)); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s: got %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestCalm(t *testing.T) {
	for _, tt := range []struct {
		name     string
		attempts []cluster.Attempt
		want     bool
	}{
		{name: "none"},
		{name: "too few", attempts: attempts(995, 1, 0, nil)},
		{name: "enough", attempts: attempts(1000, 1, 0, nil), want: true},
		{name: "a failure", attempts: attempts(1000, 500, 500, errors.New("refused"))},
	} {
		if err := calm(tt.attempts); (err == nil) != tt.want {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

func TestMoved(t *testing.T) {
	say := func(ms int, addr, mac string) cluster.Sighting {
		return cluster.Sighting{At: at(ms), Addr: netip.MustParseAddr(addr), MAC: mac}
	}
	heard := []cluster.Sighting{
		say(1, "10.50.0.1", "old"), say(2, "10.50.0.2", "b"), say(3, "10.50.0.2", "c"),
		say(4, "10.50.0.9", "b"), say(7, "10.50.0.1", "c"),
	}
	got := moved(heard, at(0), "old", map[string]bool{"10.50.0.1": true, "10.50.0.2": true, "10.50.0.3": true})
	if diff := cmp.Diff([]float64{2, 7}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	for _, tt := range []struct {
		names string
		want  []string
	}{
		{names: "rollout,cable-cut", want: []string{"cable-cut", "rollout"}},
		{names: "cable-cut,typo"},
	} {
		chosen, err := choose(tt.names)
		var got []string
		for _, k := range chosen {
			got = append(got, k.name)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %v (-want +got):\n%s", tt.names, err, diff)
		}
	}
	if all, err := choose(""); err != nil || len(all) != len(kinds) {
		t.Errorf("all: got %d kinds, %v", len(all), err)
	}
}
