package monitoring

//lint:file-ignore SA1019 The schema that is called deprecated is the one that every Grafana since version 10 reads.

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

const dashboardPath = "config/monitoring/invar.json"

// variantsUsed are the kinds of panel that the dashboard has.
var variantsUsed = []variants.PanelcfgConfig{
	bargauge.VariantConfig(), stat.VariantConfig(), statetimeline.VariantConfig(), table.VariantConfig(), timeseries.VariantConfig(),
}

// parseDashboard reads a dashboard by Grafana's schema, down to queries and the options of each kind of panel. What the schema
// does not know, or wants and does not find, is an error.
func parseDashboard(text []byte) (dashboard.Dashboard, error) {
	for _, v := range variantsUsed {
		cog.NewRuntime().RegisterPanelcfgVariant(v)
	}
	cog.NewRuntime().RegisterDataqueryVariant(prometheus.VariantConfig())

	// The strict reader returns an empty list of errors when it finds none, and, as it takes that for an error itself, leaves out
	// parts that have none. So it is asked for errors only.
	var strict, d dashboard.Dashboard
	err := strict.UnmarshalJSONStrict(text)
	if found, ok := errors.AsType[cog.BuildErrors](err); err != nil && (!ok || len(found) > 0) {
		return d, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, err
	}
	return d, d.Validate()
}

func loadDashboard(t *testing.T) dashboard.Dashboard {
	t.Helper()
	d, err := parseDashboard(read(t, dashboardPath))
	if err != nil {
		t.Fatalf("%s: %v", dashboardPath, err)
	}
	return d
}

// TestSchemaIsStrict shows that the checks of this package can fail.
func TestSchemaIsStrict(t *testing.T) {
	for _, tt := range []struct{ old, mistake, want string }{
		{`"schemaVersion"`, `"schemaVersions"`, "Dashboard: unexpected field 'schemaVersions'"},
		{`"gridPos"`, `"gridPosition"`, "panels[0].RowPanel: unexpected field 'gridPosition'"},
		{`"expr"`, `"query"`, "panels[1].targets[0].expr: required field is missing from input"},
		{`"graphMode"`, `"graph"`, "panels[1].options.graphMode: required field is missing from input"},
		{`"drawStyle"`, `"drawStile"`, "panels[9].fieldConfig.defaults.custom.GraphFieldConfig: unexpected field 'drawStile'"},
		{`"uid"`, `"uid"`, ""},
	} {
		t.Run(tt.mistake, func(t *testing.T) {
			text := bytes.Replace(read(t, dashboardPath), []byte(tt.old), []byte(tt.mistake), 1)
			got := ""
			if _, err := parseDashboard(text); err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// panels are those that show something: rows are left out.
func panels(d dashboard.Dashboard) []dashboard.Panel {
	var all []dashboard.Panel
	for _, p := range d.Panels {
		if p.Panel != nil {
			all = append(all, *p.Panel)
		}
	}
	return all
}

// queries are the queries of a panel.
func queries(t *testing.T, p dashboard.Panel) []prometheus.Dataquery {
	t.Helper()
	var all []prometheus.Dataquery
	for _, target := range p.Targets {
		q, ok := target.(*prometheus.Dataquery)
		if !ok {
			t.Fatalf("%s: a query of type %T, want one for Prometheus", *p.Title, target)
		}
		all = append(all, *q)
	}
	return all
}

func TestDashboardSchema(t *testing.T) {
	d := loadDashboard(t)
	ids := map[uint32]bool{}
	for _, p := range panels(d) {
		if p.Description == nil || *p.Description == "" {
			t.Errorf("panel %q does not say what it shows", *p.Title)
		}
		if len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", *p.Title)
		}
		if ids[*p.Id] {
			t.Errorf("panel %q has the id %d of another", *p.Title, *p.Id)
		}
		ids[*p.Id] = true
		if !slices.ContainsFunc(variantsUsed, func(v variants.PanelcfgConfig) bool { return v.Identifier == p.Type }) {
			t.Errorf("panel %q is a %s, whose options are not checked", *p.Title, p.Type)
		}
	}
	checkGrid(t, d)
}

// checkGrid reports panels that lie over each other or reach beyond Grafana's 24 columns.
func checkGrid(t *testing.T, d dashboard.Dashboard) {
	t.Helper()
	type cell struct{ x, y uint32 }
	taken := map[cell]string{}
	for _, p := range d.Panels {
		pos, title := dashboard.GridPos{}, ""
		if p.Panel != nil {
			pos, title = *p.Panel.GridPos, *p.Panel.Title
		} else {
			pos, title = *p.RowPanel.GridPos, *p.RowPanel.Title
		}
		if pos.X+pos.W > 24 {
			t.Errorf("%q reaches beyond the 24 columns", title)
		}
		for x := pos.X; x < pos.X+pos.W; x++ {
			for y := pos.Y; y < pos.Y+pos.H; y++ {
				if other := taken[cell{x, y}]; other != "" {
					t.Fatalf("%q lies over %q", title, other)
				}
				taken[cell{x, y}] = title
			}
		}
	}
}

// inGrafana replaces what Grafana replaces before it asks Prometheus.
var inGrafana = strings.NewReplacer("$__rate_interval", "5m")

// TestDashboardQueries checks each query against the metrics of the daemons, asks it of two pods of each kind, and compares the
// labels of the result with those that the legend uses.
func TestDashboardQueries(t *testing.T) {
	all := metrics(t)
	data := synthetic(t, all)
	for _, p := range panels(loadDashboard(t)) {
		for _, q := range queries(t, p) {
			t.Run(*p.Title, func(t *testing.T) {
				expr := inGrafana.Replace(q.Expr)
				if err := checkExpr(all, expr); err != nil {
					t.Fatal(err)
				}
				result, err := data.query(expr, at(60))
				if err != nil {
					t.Fatalf("%s: %v", expr, err)
				}
				if len(result) == 0 {
					t.Fatalf("%s finds nothing", expr)
				}
				for _, label := range legendLabels(*q.LegendFormat) {
					for _, sample := range result {
						if !sample.Metric.Has(label) {
							t.Errorf("legend %s: %s gives %s", *q.LegendFormat, expr, sample.Metric)
						}
					}
				}
			})
		}
	}
}

var legendLabel = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// legendLabels are the labels in a format such as "{{node}} {{cause}}".
func legendLabels(format string) []string {
	var names []string
	for _, m := range legendLabel.FindAllStringSubmatch(format, -1) {
		names = append(names, m[1])
	}
	return names
}

// TestDashboardShowsAll names the metrics of the daemons that the dashboard leaves out, so that a new one is not forgotten.
func TestDashboardShowsAll(t *testing.T) {
	leftOut := []string{
		"metallb_allocator_ipv4_addresses_total", "metallb_allocator_ipv6_addresses_total", // the bars show both together
		"invar_speaker_failover_seconds_sum", "invar_speaker_duplicate_seconds_sum",
		"invar_layer2_interfaces", // an alert watches it
	}
	text := string(read(t, dashboardPath))
	for name := range metrics(t) {
		own := strings.HasPrefix(name, "invar_") || strings.HasPrefix(name, "metallb_")
		shown := regexp.MustCompile(`\b` + name + `\b`).MatchString(text)
		if own && shown == slices.Contains(leftOut, name) {
			t.Errorf("%s: shown is %v", name, shown)
		}
	}
}
