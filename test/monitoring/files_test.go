package monitoring

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const root = "../.."

// read is a file of the repository.
func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// decode reads the objects of a file, all of one kind. An unknown field is an error.
func decode[T any](t *testing.T, path string) []T {
	t.Helper()
	var objects []T
	for _, doc := range bytes.Split(read(t, path), []byte("\n---\n")) {
		var obj T
		if err := yaml.UnmarshalStrict(doc, &obj); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		objects = append(objects, obj)
	}
	return objects
}

// TestPodMonitors checks that each PodMonitor finds the pods of one workload, by a port that these have, and puts the labels on
// that the queries count on.
func TestPodMonitors(t *testing.T) {
	controller := decode[appsv1.Deployment](t, "config/base/controller.yaml")[0]
	speaker := decode[appsv1.DaemonSet](t, "config/base/speaker.yaml")[0]
	selectors := map[string]*metav1.LabelSelector{
		controller.Name: controller.Spec.Selector,
		speaker.Name:    speaker.Spec.Selector,
	}
	monitors := decode[monitoringv1.PodMonitor](t, "config/monitoring/podmonitors.yaml")
	if len(monitors) != len(selectors) {
		t.Errorf("%d PodMonitors, want %d", len(monitors), len(selectors))
	}
	for _, m := range monitors {
		if diff := cmp.Diff(selectors[m.Name], &m.Spec.Selector); diff != "" {
			t.Errorf("selector of %s (-want +got):\n%s", m.Name, diff)
		}
		if len(m.Spec.PodMetricsEndpoints) != 1 {
			t.Fatalf("%s has %d endpoints, want 1", m.Name, len(m.Spec.PodMetricsEndpoints))
		}
		endpoint := m.Spec.PodMetricsEndpoints[0]
		if got := *endpoint.Port; got != "monitoring" {
			t.Errorf("%s has port %s, want monitoring", m.Name, got)
		}
		want := []monitoringv1.RelabelConfig{{
			SourceLabels: []monitoringv1.LabelName{"__meta_kubernetes_pod_node_name"}, TargetLabel: "node",
		}}
		if diff := cmp.Diff(want, endpoint.RelabelConfigs); diff != "" {
			t.Errorf("relabelings of %s (-want +got):\n%s", m.Name, diff)
		}
	}
	for _, c := range append(controller.Spec.Template.Spec.Containers, speaker.Spec.Template.Spec.Containers...) {
		if c.Ports[0].Name != "monitoring" {
			t.Errorf("the first port of container %s is %s, want monitoring", c.Name, c.Ports[0].Name)
		}
	}
}
