package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLinesOf(t *testing.T) {
	const all = "# HELP up Whether.\n# TYPE up gauge\nup 1\nup_since{a=\"b\"} 2\nheld{ip=\"2\"} 1\nheld{ip=\"1\"} 1\n"
	for _, tt := range []struct {
		name string
		want []string
	}{
		{"up", []string{"up 1"}},
		{"held", []string{`held{ip="1"} 1`, `held{ip="2"} 1`}},
		{"down", []string{}},
	} {
		if diff := cmp.Diff(tt.want, linesOf(all, tt.name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestSum(t *testing.T) {
	for _, tt := range []struct {
		name  string
		lines []string
		want  float64
		err   bool
	}{
		{name: "none"},
		{name: "some", lines: []string{`sent{ip="10.50.0.0"} 12`, `sent{ip="10.50.0.1"} 14`}, want: 26},
		{name: "large", lines: []string{`sent{ip="10.50.0.0"} 1.2e+06`}, want: 1_200_000},
		{name: "without labels", lines: []string{"sent 3"}, want: 3},
		{name: "no number", lines: []string{"sent many"}, err: true},
	} {
		got, err := Sum(tt.lines)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("%s: got %v, %v, want %v, error %t", tt.name, got, err, tt.want, tt.err)
		}
	}
}
