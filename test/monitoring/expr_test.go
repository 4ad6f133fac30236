package monitoring

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// checkExpr reports each metric of an expression that no daemon has, and each label that is neither the metric's nor one of
// targetLabels.
func checkExpr(all map[string][]metric, text string) error {
	expr, err := promQL.ParseExpr(text)
	if err != nil {
		return err
	}
	return check(all, expr)
}

// check walks down node. What names labels may name those of the selectors below it.
func check(all map[string][]metric, node parser.Node) error {
	var named []string
	switch n := node.(type) {
	case *parser.VectorSelector:
		for _, m := range n.LabelMatchers {
			if m.Name != model.MetricNameLabel {
				named = append(named, m.Name)
			}
		}
	case *parser.AggregateExpr:
		named = n.Grouping
	case *parser.BinaryExpr:
		if n.VectorMatching != nil {
			named = append(slices.Clone(n.VectorMatching.MatchingLabels), n.VectorMatching.Include...)
		}
	}
	known, err := labelsBelow(all, node)
	if err != nil {
		return err
	}
	for _, l := range named {
		if !slices.Contains(known, l) {
			return fmt.Errorf("%s: no label %s; there are %s", node, l, strings.Join(known, ", "))
		}
	}
	for child := range parser.ChildrenIter(node) {
		if err := check(all, child); err != nil {
			return err
		}
	}
	return nil
}

// labelsBelow are the labels that all selectors in node have.
func labelsBelow(all map[string][]metric, node parser.Node) ([]string, error) {
	var known []string
	first := true
	var unknown error
	parser.Inspect(node, func(n parser.Node, _ []parser.Node) error {
		selector, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		found := all[selector.Name]
		if len(found) == 0 {
			unknown = fmt.Errorf("no daemon has the metric %s", selector.Name)
			return nil
		}
		own := append(slices.Clone(targetLabels), found[0].labels...)
		if found[0].histogram && strings.HasSuffix(selector.Name, "_bucket") {
			own = append(own, "le")
		}
		if first {
			known, first = own, false
			return nil
		}
		known = slices.DeleteFunc(known, func(l string) bool { return !slices.Contains(own, l) })
		return nil
	})
	slices.Sort(known)
	return slices.Compact(known), unknown
}

func TestCheckExpr(t *testing.T) {
	all := metrics(t)
	for _, tt := range []struct{ expr, want string }{
		{"sum by (pool) (metallb_allocator_addresses_total)", ""},
		{`rate(metallb_layer2_requests_received{ip=~".*:.*", pod="x"}[5m])`, ""},
		{"sum by (phase, le) (rate(invar_speaker_failover_seconds_bucket[5m]))", ""},
		{"invar_speaker_memberz", "no daemon has the metric invar_speaker_memberz"},
		{"invar_speaker_failover_seconds > 0", "no daemon has the metric invar_speaker_failover_seconds"},
		{
			`invar_speaker_members{pool="x"}`,
			`invar_speaker_members{pool="x"}: no label pool; there are container, endpoint, instance, job, namespace, node, pod`,
		},
		{
			"sum by (cause) (invar_speaker_claims_total)",
			"sum by (cause) (invar_speaker_claims_total): no label cause; there are container, endpoint, instance, job, " +
				"namespace, node, pod",
		},
		{
			"metallb_speaker_announced / on (ip) invar_speaker_members",
			"metallb_speaker_announced / on (ip) invar_speaker_members: no label ip; there are container, endpoint, instance, " +
				"job, namespace, node, pod",
		},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			got := ""
			if err := checkExpr(all, tt.expr); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// synthetic is each metric of the daemons, of two pods each on nodes of their own, with counters that rise.
func synthetic(t *testing.T, all map[string][]metric) series {
	t.Helper()
	var texts []string
	for name, ms := range all {
		for _, m := range ms {
			for i := range 2 {
				texts = append(texts, m.synthetic(name, i)...)
			}
		}
	}
	return parseSeries(t, texts...)
}

// synthetic are the series of m under one of its names in pod i: one, or of a bucket three.
func (m metric) synthetic(name string, i int) []string {
	values := map[string]string{
		"namespace": "metallb-system", "job": "metallb-system/" + m.container, "container": m.container, "endpoint": "monitoring",
		"pod": fmt.Sprintf("%s-%d", m.container, i), "node": fmt.Sprintf("node%d", i), "instance": fmt.Sprintf("10.0.0.%d:7472", i),
	}
	for _, l := range m.labels {
		if values[l] == "" {
			values[l] = l + "-value"
		}
	}
	if values["ip"] != "" {
		values["ip"] = []string{"192.168.1.160", "fd00:1::160"}[i]
	}
	build := func(points string) string {
		l := labels.NewBuilder(labels.FromMap(values)).Set(model.MetricNameLabel, name).Labels()
		return l.String() + " " + points
	}
	if !m.histogram || !strings.HasSuffix(name, "_bucket") {
		return []string{build("1+1x60")}
	}
	var texts []string
	for le, points := range map[string]string{"0.1": "0+1x60", "0.2": "0+2x60", "+Inf": "0+2x60"} {
		values["le"] = le
		texts = append(texts, build(points))
	}
	return texts
}
