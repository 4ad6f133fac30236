package config_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/ipam"
)

// FuzzParse parses any text. It must not panic; findings must have a message and a line of the text; and pools
// that are written out again must be read as the same pools.
func FuzzParse(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, name := range files(f, folder) {
			f.Add(read(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := config.Parse(text)
		if err != nil {
			var errs config.Errors
			if cfg != nil || !errors.As(err, &errs) {
				t.Fatalf("got a config (%v) or a %T besides the error", cfg != nil, err)
			}
			checkFindings(t, text, errs)
			return
		}
		checkFindings(t, text, cfg.Warnings)
		if err := ipam.New().SetPools(cfg.AddressPools()); err != nil {
			t.Fatalf("checked pools are refused by the allocator: %v", err)
		}
		again, err := config.Parse(write(t, cfg))
		if err != nil {
			t.Fatalf("what was written isn't read: %v\n%s", err, write(t, cfg))
		}
		if diff := cmp.Diff(cfg.Pools, again.Pools, equateRanges, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("what was written reads differently (-first +again):\n%s", diff)
		}
	})
}

// equateRanges lets cmp compare addresses.
var equateRanges = cmpopts.EquateComparable(ipam.Range{})

// checkFindings checks that every finding can be shown.
func checkFindings(t *testing.T, text string, errs config.Errors) {
	t.Helper()
	for _, err := range errs {
		if err.Message == "" || err.Line < 0 || err.Line > len(text)+2 || err.Column < 0 {
			t.Fatalf("finding without a message or outside the text: %+v", err)
		}
	}
}

// write returns the pools of cfg as the text of a ConfigMap.
func write(t *testing.T, cfg *config.Config) string {
	t.Helper()
	pools := make([]map[string]any, len(cfg.Pools))
	for i, p := range cfg.Pools {
		addresses := make([]string, len(p.Ranges))
		for j, r := range p.Ranges {
			addresses[j] = r.String()
		}
		pools[i] = map[string]any{
			"name": p.Name, "protocol": "layer2", "addresses": addresses, "avoid-buggy-ips": p.AvoidBuggyIPs,
			"auto-assign": p.AutoAssign, "priority": p.Priority, "namespaces": p.Namespaces,
			"namespace-selectors": selectors(p.NamespaceSelectors), "service-selectors": selectors(p.ServiceSelectors),
			"node-selectors": selectors(p.NodeSelectors), "interfaces": p.Interfaces,
		}
	}
	text, err := yaml.Marshal(map[string]any{"address-pools": pools})
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return string(text)
}

// selectors returns label selectors as they are written.
func selectors(list []ipam.Selector) []map[string]any {
	out := make([]map[string]any, len(list))
	for i, s := range list {
		expressions := make([]map[string]any, len(s.MatchExpressions))
		for j, q := range s.MatchExpressions {
			expressions[j] = map[string]any{"key": q.Key, "operator": string(q.Operator), "values": q.Values}
		}
		out[i] = map[string]any{"match-labels": s.MatchLabels, "match-expressions": expressions}
	}
	return out
}
