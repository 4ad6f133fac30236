package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube/api/apitest"
)

// loaded is what one Load gives, told in short.
type loaded struct {
	Pools   string // names of the pools in force, or "none" if no configuration is
	Changed bool
	Err     string // part of the error
	Exists  bool   // Object has something
	// Metrics are config_loaded and config_stale.
	Metrics [2]float64
}

func TestConfigSource(t *testing.T) {
	const (
		good   = "address-pools:\n- name: %\n  protocol: layer2\n  addresses: [192.168.1.160-192.168.1.169]\n"
		broken = "address-pools:\n- name: first\n  protocol: layer2\n  addresses: [nonsense]\n"
	)
	name := cache.NewObjectName("metallb-system", "config")
	configMap := func(version, text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, ResourceVersion: version},
			Data:       map[string]string{"config": text},
		}
	}
	first, second := strings.ReplaceAll(good, "%", "first"), strings.ReplaceAll(good, "%", "second")
	steps := []struct {
		name string
		obj  *corev1.ConfigMap // nil: there is none
		want loaded
	}{
		{"missing from the start", nil, loaded{"none", true, "does not exist", false, [2]float64{0, 1}}},
		{"still missing", nil, loaded{"none", false, "does not exist", false, [2]float64{0, 1}}},
		{"broken at first", configMap("1", broken), loaded{"none", true, "nonsense", true, [2]float64{0, 1}}},
		{"good", configMap("2", first), loaded{"first", true, "", true, [2]float64{1, 0}}},
		{"the same again", configMap("2", first), loaded{"first", false, "", true, [2]float64{1, 0}}},
		{"broken", configMap("3", broken), loaded{"first", true, "nonsense", true, [2]float64{1, 1}}},
		{"still broken", configMap("3", broken), loaded{"first", false, "nonsense", true, [2]float64{1, 1}}},
		{"missing", nil, loaded{"first", true, "does not exist", false, [2]float64{1, 1}}},
		{"good again", configMap("5", second), loaded{"second", true, "", true, [2]float64{1, 0}}},
		{"empty", configMap("6", ""), loaded{"", true, "", true, [2]float64{1, 0}}},
	}

	inf := ConfigMap(apitest.NewClient(), name.Namespace, name.Name)
	metrics := NewMetrics(prometheus.NewRegistry())
	source := NewConfigSource(inf, name, metrics)
	for _, tt := range steps {
		objs := []any{}
		if tt.obj != nil {
			objs = append(objs, tt.obj)
		}
		if err := inf.GetStore().Replace(objs, ""); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, load(t, source, metrics, tt.want.Err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// load tells what Load gives; of the error, only err if it is part of it.
func load(t *testing.T, source *ConfigSource, metrics *Metrics, err string) loaded {
	t.Helper()
	cfg, changed, failure := source.Load()
	got := loaded{
		Pools: "none", Changed: changed, Exists: source.Object() != nil,
		Metrics: [2]float64{testutil.ToFloat64(metrics.configLoaded), testutil.ToFloat64(metrics.configStale)},
	}
	if cfg != nil {
		var names []string
		for _, p := range cfg.Pools {
			names = append(names, p.Name)
		}
		got.Pools = strings.Join(names, " ")
	}
	if failure != nil {
		got.Err = failure.Error()
		if err != "" && strings.Contains(got.Err, err) {
			got.Err = err
		}
	}
	return got
}
