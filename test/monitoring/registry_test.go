package monitoring

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/invar-lb/invar/pkg/controller"
	"github.com/invar-lb/invar/pkg/daemon"
	"github.com/invar-lb/invar/pkg/speaker"
	"github.com/prometheus/client_golang/prometheus"
)

// targetLabels are what Prometheus puts on each series of a pod that a PodMonitor of config/monitoring finds.
var targetLabels = []string{"container", "endpoint", "instance", "job", "namespace", "node", "pod"}

// metric is a metric as a daemon registers it.
type metric struct {
	name      string
	labels    []string // its own, variable or not
	histogram bool
	container string // the daemon that has it
}

// metrics are all metrics that the daemons register, by name as queries know it: a histogram is there by its three names. What
// both daemons have is there once for each.
func metrics(t *testing.T) map[string][]metric {
	t.Helper()
	all := map[string][]metric{}
	for container, register := range map[string]func(prometheus.Registerer){
		"controller": func(r prometheus.Registerer) { controller.NewMetrics(r) },
		"speaker":    func(r prometheus.Registerer) { speaker.NewMetrics(r) },
	} {
		r := &recorder{container: container}
		register(r)
		r.gather(t, daemon.Registry())
		for _, m := range r.metrics {
			for _, name := range m.names() {
				all[name] = append(all[name], m)
			}
		}
	}
	return all
}

// names are the names of m's series.
func (m metric) names() []string {
	if m.histogram {
		return []string{m.name + "_bucket", m.name + "_sum", m.name + "_count"}
	}
	return []string{m.name}
}

// recorder is a Registerer that notes what is registered, since a metric without a series yet is not gathered.
type recorder struct {
	container string
	metrics   []metric
}

func (r *recorder) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		c.Describe(descs)
		close(descs)
	}()
	_, one := c.(prometheus.Histogram)
	_, several := c.(*prometheus.HistogramVec)
	for desc := range descs {
		m, err := parseDesc(desc.String())
		if err != nil {
			return err
		}
		m.histogram, m.container = one || several, r.container
		r.metrics = append(r.metrics, m)
	}
	return nil
}

func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

func (r *recorder) Unregister(prometheus.Collector) bool { return false }

// gather adds what reg has series of: the collectors of Go and the process describe themselves too late or not at all.
func (r *recorder) gather(t *testing.T, reg *prometheus.Registry) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		m := metric{name: f.GetName(), container: r.container, histogram: f.Metric[0].Histogram != nil}
		for _, l := range f.Metric[0].Label {
			m.labels = append(m.labels, l.GetName())
		}
		r.metrics = append(r.metrics, m)
	}
}

var descForm = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ".*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

// parseDesc reads the name and the labels out of a description, which tells them in no other way.
func parseDesc(text string) (metric, error) {
	parts := descForm.FindStringSubmatch(text)
	if parts == nil {
		return metric{}, fmt.Errorf("a description of another form: %s", text)
	}
	m := metric{name: parts[1]}
	for _, l := range strings.Split(parts[2]+","+parts[3], ",") {
		if name, _, _ := strings.Cut(l, "="); name != "" {
			m.labels = append(m.labels, name)
		}
	}
	return m, nil
}

// TestMetrics shows that the checks of this package can fail: it knows labels and kinds as they are.
func TestMetrics(t *testing.T) {
	all := metrics(t)
	for name, want := range map[string]string{
		"metallb_speaker_announced":             "[{metallb_speaker_announced [service protocol node ip] false speaker}]",
		"invar_speaker_failover_seconds_bucket": "[{invar_speaker_failover_seconds [phase] true speaker}]",
		"invar_speaker_failover_seconds":        "[]",
		"invar_controller_leading_bool":         "[{invar_controller_leading_bool [] false controller}]",
		"invar_layer2_frames_dropped_total":     "[{invar_layer2_frames_dropped_total [protocol reason] false speaker}]",
	} {
		if got := fmt.Sprint(all[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := len(all["invar_build_info"]); got != 2 {
		t.Errorf("invar_build_info is of %d daemons, want 2", got)
	}
	if len(all) < 50 {
		t.Errorf("only %d metrics: %v", len(all), slices.Sorted(maps.Keys(all)))
	}
}
