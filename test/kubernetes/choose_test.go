package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	specs := []string{"DNS should answer", "LoadBalancers should work", "LoadBalancers should clean up", "Services should tell of health"}
	also := []string{"Services should tell of health"}
	for _, tt := range []struct {
		name    string
		leftOut []exception
		also    []string
		run     []string
		out     []exception
		err     string
	}{
		{name: "by name", run: specs[1:3]},
		{name: "by the table too", also: also, run: specs[1:]},
		{
			name: "left out", leftOut: []exception{{specs[2], "no finalizer"}, {specs[3], "slow"}}, also: also,
			run: specs[1:2], out: []exception{{specs[2], "no finalizer"}, {specs[3], "slow"}},
		},
		{name: "left out and unknown", leftOut: []exception{{"LoadBalancers should fly", "gone"}}, err: `no spec of this name: "LoadBalancers should fly"`},
		{name: "left out for nothing", leftOut: []exception{{specs[0], "why"}}, err: `not about load balancers: "DNS should answer"`},
		{name: "left out twice", leftOut: []exception{{specs[1], "a"}, {specs[1], "b"}}, err: `twice: "LoadBalancers should work"`},
		{name: "listed and unknown", also: []string{"Services should fly"}, err: `listed, but the suite has no spec of this name: "Services should fly"`},
		{name: "listed for nothing", also: specs[1:2], err: `listed, though its name says`},
		{name: "all left out", leftOut: []exception{{specs[1], "a"}, {specs[2], "b"}}, err: "no spec is left"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := choose(specs, tt.leftOut, tt.also)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one about %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(plan{tt.run, tt.out}, p, cmp.AllowUnexported(plan{}, exception{})); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTables checks what can be checked without the suite: that each spec left out has a reason.
func TestTables(t *testing.T) {
	for _, e := range leftOut {
		if strings.TrimSpace(e.reason) == "" {
			t.Errorf("%q is left out without a reason", e.spec)
		}
	}
}

func TestFilter(t *testing.T) {
	specs := []string{"a TCP service", "a UDP service"}
	for _, tt := range []struct {
		expression string
		want       []string
		err        bool
	}{
		{"", specs, false},
		{"UDP|SCTP", specs[1:], false},
		{"SCTP", nil, true},
		{"(", nil, true},
	} {
		got, err := filter(specs, tt.expression)
		if (err != nil) != tt.err {
			t.Errorf("filter %q: error %v, want one: %t", tt.expression, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("filter %q (-want +got):\n%s", tt.expression, diff)
		}
	}
}

func TestParseList(t *testing.T) {
	const out = `The following spec names can be used with 'ginkgo run --focus/skip':
    test/e2e/network/dns.go:44: [sig-network] DNS should resolve a.b.go:1: names
    ../../root/go/pkg/mod/k8s.io/kubernetes@v1.37.2/test/e2e/network/loadbalancer.go:132: [sig-network] LoadBalancers should work

`
	want := []string{"[sig-network] DNS should resolve a.b.go:1: names", "[sig-network] LoadBalancers should work"}
	if diff := cmp.Diff(want, parseList(out)); diff != "" {
		t.Errorf("specs (-want +got):\n%s", diff)
	}
}
