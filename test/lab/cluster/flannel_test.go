package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestFlannelManifest decodes what kubectl applies, strictly, and looks for placeholders.
func TestFlannelManifest(t *testing.T) {
	text := flannelManifest()
	if strings.Contains(text, "$") {
		t.Errorf("a placeholder is left:\n%s", text)
	}
	objects := map[string]any{
		"Namespace": new(corev1.Namespace), "ClusterRole": new(rbacv1.ClusterRole), "ConfigMap": new(corev1.ConfigMap),
		"ClusterRoleBinding": new(rbacv1.ClusterRoleBinding), "ServiceAccount": new(corev1.ServiceAccount),
		"DaemonSet": new(appsv1.DaemonSet),
	}
	var got []string
	for document := range strings.SplitSeq(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			t.Fatal(err)
		}
		got = append(got, kind.Kind)
		if err := yaml.UnmarshalStrict([]byte(document), objects[kind.Kind]); err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
	}
	want := []string{"Namespace", "ClusterRole", "ClusterRoleBinding", "ServiceAccount", "ConfigMap", "DaemonSet"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}
