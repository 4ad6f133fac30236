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
