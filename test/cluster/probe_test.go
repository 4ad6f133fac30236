package cluster

import (
	"errors"
	"testing"
	"time"
)

func TestStall(t *testing.T) {
	begin := time.Now()
	at := func(ms ...int) (attempts []Attempt) {
		for _, n := range ms {
			attempts = append(attempts, Attempt{Start: begin.Add(time.Duration(n) * time.Millisecond)})
		}
		return attempts
	}
	failed := at(0, 5, 10)
	for i := range failed {
		failed[i].Err = errors.New("timeout")
	}
	for name, tt := range map[string]struct {
		attempts []Attempt
		want     time.Duration
	}{
		"none":                        {nil, 0},
		"one":                         {at(7), 0},
		"in time":                     {at(0, 5, 10), 5 * time.Millisecond},
		"in time, though they failed": {failed, 5 * time.Millisecond},
		"two stalls":                  {at(0, 5, 805, 810, 1100), 800 * time.Millisecond},
	} {
		if got := Stall(tt.attempts); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
