package ipam_test

import (
	"testing"

	"github.com/invar-lb/invar/pkg/ipam"
)

func TestSelector(t *testing.T) {
	labels := map[string]string{"app": "web", "tier": ""}
	require := func(key string, op ipam.Operator, values ...string) ipam.Selector {
		return ipam.Selector{MatchExpressions: []ipam.Requirement{{Key: key, Operator: op, Values: values}}}
	}
	both := require("app", ipam.OperatorExists)
	both.MatchLabels = map[string]string{"tier": "x"}
	tests := []struct {
		name string
		s    ipam.Selector
		want bool
	}{
		{"empty matches everything", ipam.Selector{}, true},
		{"label", ipam.Selector{MatchLabels: map[string]string{"app": "web"}}, true},
		{"label with another value", ipam.Selector{MatchLabels: map[string]string{"app": "db"}}, false},
		{"empty value isn't a missing label", ipam.Selector{MatchLabels: map[string]string{"none": ""}}, false},
		{"empty value", ipam.Selector{MatchLabels: map[string]string{"tier": ""}}, true},
		{"in", require("app", ipam.OperatorIn, "db", "web"), true},
		{"in none", require("app", ipam.OperatorIn, "db"), false},
		{"in, label missing", require("none", ipam.OperatorIn, ""), false},
		{"not in", require("app", ipam.OperatorNotIn, "db"), true},
		{"not in, but is", require("app", ipam.OperatorNotIn, "web"), false},
		{"not in, label missing", require("none", ipam.OperatorNotIn, "web"), true},
		{"exists", require("tier", ipam.OperatorExists), true},
		{"exists not", require("none", ipam.OperatorExists), false},
		{"does not exist", require("none", ipam.OperatorDoesNotExist), true},
		{"does not exist, but does", require("app", ipam.OperatorDoesNotExist), false},
		{"unknown operator", require("app", "Near"), false},
		{"labels and expressions must both hold", both, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.Matches(labels); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
