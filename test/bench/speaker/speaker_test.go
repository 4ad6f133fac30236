package main

import "testing"

func TestSum(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  uint64
		err   bool
	}{
		{name: "none"},
		{name: "some", lines: []string{`sent{ip="10.50.0.0"} 12`, `sent{ip="10.50.0.1"} 14`}, want: 26},
		{name: "large", lines: []string{`sent{ip="10.50.0.0"} 1.2e+06`}, want: 1_200_000},
		{name: "without labels", lines: []string{"sent 3"}, want: 3},
		{name: "no number", lines: []string{"sent many"}, err: true},
	} {
		got, err := sum(tt.lines)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("%s: got %d, %v, want %d, error %t", tt.name, got, err, tt.want, tt.err)
		}
	}
}
