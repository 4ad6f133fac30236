//go:build e2e

package upgrade

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// identity is what stays of an object that is replaced in place.
type identity struct {
	UID  types.UID
	Data map[string][]byte
}

// workloads returns the objects that must stay: those that run the pods, and the Secret.
func workloads(t *testing.T) map[string]identity {
	t.Helper()
	controller, speaker := running(t)
	secret, err := lab.Kube.CoreV1().Secrets(cluster.Namespace).Get(t.Context(), "memberlist", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]identity{
		"Deployment": {UID: controller.UID}, "DaemonSet": {UID: speaker.UID}, "Secret": {secret.UID, secret.Data},
	}
}

func running(t *testing.T) (controller *appsv1.Deployment, speaker *appsv1.DaemonSet) {
	t.Helper()
	controller, err := lab.Kube.AppsV1().Deployments(cluster.Namespace).Get(t.Context(), "controller", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	speaker, err = lab.Kube.AppsV1().DaemonSets(cluster.Namespace).Get(t.Context(), "speaker", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return controller, speaker
}

// wantReplaced fails unless r runs in the objects that were there before, and nothing of what they held is left that r does not
// ask for.
func wantReplaced(t *testing.T, before map[string]identity, r release) {
	t.Helper()
	if diff := cmp.Diff(before, workloads(t)); diff != "" {
		t.Errorf("%s is not in place (-before +after):\n%s", r.name, diff)
	}
	controller, speaker := running(t)
	want := map[string][]string{}
	for object := range strings.SplitSeq(r.manifest, "\n---\n") {
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(object), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch o := obj.(type) {
		case *appsv1.Deployment:
			want["controller"] = outline(&o.Spec.Template)
		case *appsv1.DaemonSet:
			want["speaker"] = outline(&o.Spec.Template)
		}
	}
	got := map[string][]string{"controller": outline(&controller.Spec.Template), "speaker": outline(&speaker.Spec.Template)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pods are not those of %s (-want +got):\n%s", r.name, diff)
	}
}

// outline returns of a pod what could be left over: the names of what is set, and the numbers of its ports. kubectl apply merges ports
// by these, so when two come new that have the same one, such as 7946 of the controller, one is left out. Nothing refers to it.
func outline(p *corev1.PodTemplateSpec) (out []string) {
	out = append(out, fmt.Sprintf("hostNetwork %v", p.Spec.HostNetwork), "priority "+p.Spec.PriorityClassName)
	for _, v := range p.Spec.Volumes {
		out = append(out, "volume "+v.Name)
	}
	for _, c := range p.Spec.Containers {
		out = append(out, "container "+c.Name+" "+c.Image, "runs "+strings.Join(slices.Concat(c.Command, c.Args), " "))
		for _, e := range c.Env {
			out = append(out, "env "+e.Name)
		}
		for _, port := range c.Ports {
			out = append(out, fmt.Sprintf("port %d", port.ContainerPort))
		}
		for _, m := range c.VolumeMounts {
			out = append(out, "mount "+m.MountPath)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wantRoles compares the names of the Roles; those of RoleBindings are the same.
func wantRoles(t *testing.T, want ...string) {
	t.Helper()
	roles, err := lab.Kube.RbacV1().Roles(cluster.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range roles.Items {
		got = append(got, r.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

// wantConditions waits until every Service says that it has its address and that it is announced, and speaks of no conflict.
func wantConditions(t *testing.T, addrs map[string]netip.Addr) {
	t.Helper()
	for name := range addrs {
		clustertest.Eventually(t, "conditions of "+name, func(ctx context.Context) error {
			s, err := lab.Service(ctx, name)
			if err != nil {
				return err
			}
			c := s.Status.Conditions
			if !apimeta.IsStatusConditionTrue(c, "invar.io/AddressAllocated") || !apimeta.IsStatusConditionTrue(c, "invar.io/Announced") {
				return fmt.Errorf("they are %v", c)
			}
			return nil
		})
	}
}

// wantNoConflicts fails if an Event or a condition calls a node of the cluster a host outside of it.
func wantNoConflicts(t *testing.T, addrs map[string]netip.Addr) {
	t.Helper()
	events, err := lab.Kube.CoreV1().Events(clustertest.Namespace).List(t.Context(), metav1.ListOptions{
		FieldSelector: "reason=AddressConflict,type=" + corev1.EventTypeWarning,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		t.Errorf("Event on %s: %s", e.InvolvedObject.Name, e.Message)
	}
	for name := range addrs {
		s, err := lab.Service(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if apimeta.IsStatusConditionTrue(s.Status.Conditions, "invar.io/AddressConflict") {
			t.Errorf("%s has a conflict: %v", name, s.Status.Conditions)
		}
	}
}
