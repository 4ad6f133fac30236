package arp

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"
)

// sampler collects how long the answers for one address took.
type sampler struct {
	addr    netip.Addr
	all     []time.Duration
	medians []time.Duration // of the rounds
}

// warmUp asks some times, and forgets the answers.
func (s *sampler) warmUp(c *client) {
	for range 100 {
		c.ask(s.addr)
	}
}

// round asks that many times.
func (s *sampler) round(c *client, requests int) {
	samples := make([]time.Duration, 0, requests)
	for range requests {
		samples = append(samples, c.ask(s.addr))
	}
	s.all = append(s.all, samples...)
	s.medians = append(s.medians, percentile(samples, 50))
}

// summary tells the rounds apart, so that one sees whether the machine was quiet.
func (s *sampler) summary() string {
	return fmt.Sprintf("p50 %s us, p99 %s us of %d answers; medians of the %d rounds: median %s us, worst %s us",
		text(percentile(s.all, 50)), text(percentile(s.all, 99)), len(s.all),
		len(s.medians), text(percentile(s.medians, 50)), text(percentile(s.medians, 100)))
}

// percentile returns the smallest value such that at least p percent of the values are not above it. There must be one.
func percentile(values []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	rank := (len(sorted)*p + 99) / 100 // rounded up
	return sorted[max(rank, 1)-1]
}

// micros returns d in microseconds, with that many decimals.
func micros(d time.Duration, decimals int) float64 {
	return round(float64(d)/float64(time.Microsecond), decimals)
}

func round(v float64, decimals int) float64 {
	unit := math.Pow10(decimals)
	return math.Round(v*unit) / unit
}

// text returns d in microseconds, for people.
func text(d time.Duration) string { return strconv.FormatFloat(micros(d, 3), 'f', 3, 64) }

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 0, 100)
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i))
	}
	for _, tt := range []struct {
		name   string
		values []time.Duration
		p      int
		want   time.Duration
	}{
		{"one", []time.Duration{7}, 50, 7},
		{"two", []time.Duration{9, 7}, 50, 7},
		{"odd", []time.Duration{3, 1, 2}, 50, 2},
		{"negative", []time.Duration{-5, 3, 1}, 50, 1},
		{"median of 100", hundred, 50, 50},
		{"p99 of 100", hundred, 99, 99},
		{"worst", hundred, 100, 100},
		{"least", hundred, 0, 1},
	} {
		if got := percentile(tt.values, tt.p); got != tt.want {
			t.Errorf("%s: percentile %d is %d, want %d", tt.name, tt.p, got, tt.want)
		}
	}
}

func TestMicros(t *testing.T) {
	for _, tt := range []struct {
		d        time.Duration
		decimals int
		want     float64
	}{
		{13_777, 2, 13.78},
		{13_774, 2, 13.77},
		{94, 3, 0.094},
		{-94, 2, -0.09},
		{0, 2, 0},
	} {
		if got := micros(tt.d, tt.decimals); got != tt.want {
			t.Errorf("%d ns with %d decimals: %v us, want %v", tt.d, tt.decimals, got, tt.want)
		}
	}
}
