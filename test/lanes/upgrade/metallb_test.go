//go:build e2e

package upgrade

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// TestMetalLB replaces a MetalLB 0.12 that is in use by this Invar, and puts it back.
func TestMetalLB(t *testing.T) {
	install(t, metalLB(t))
	addrs := services(t)
	before := workloads(t)

	w := observe(t, addrs)
	apply(t, thisInvar(t))
	ready(t)
	wantKept(t, addrs)
	all, noise := w.end(t, "MetalLB 0.12 to this Invar")
	wantShort(t, all, noise)
	wantOnly(t, thisInvar(t))
	if diff := cmp.Diff(before, workloads(t)); diff != "" {
		t.Errorf("objects were not replaced in place (-before +after):\n%s", diff)
	}
	wantConditions(t, addrs)
	wantNoConflicts(t)

	w = observe(t, addrs)
	apply(t, metalLB(t))
	ready(t)
	wantKept(t, addrs)
	w.end(t, "this Invar to MetalLB 0.12")
	wantOnly(t, metalLB(t))
	if diff := cmp.Diff(before, workloads(t)); diff != "" {
		t.Errorf("objects were not replaced in place (-before +after):\n%s", diff)
	}
	lab.Create(t, "later")
	lab.WantAddresses(t, "later", "192.168.1.163")
	lab.WantHTTP(t, "192.168.1.163")
}

// identity is what stays of an object that is replaced in place.
type identity struct {
	UID  types.UID
	Data map[string][]byte
}

// workloads returns the objects that must stay: those that run the pods, and the Secret.
func workloads(t *testing.T) map[string]identity {
	t.Helper()
	controller, err := lab.Kube.AppsV1().Deployments(cluster.Namespace).Get(t.Context(), "controller", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	speaker, err := lab.Kube.AppsV1().DaemonSets(cluster.Namespace).Get(t.Context(), "speaker", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := lab.Kube.CoreV1().Secrets(cluster.Namespace).Get(t.Context(), "memberlist", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]identity{
		"Deployment": {UID: controller.UID}, "DaemonSet": {UID: speaker.UID}, "Secret": {secret.UID, secret.Data},
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
			if !apimeta.IsStatusConditionTrue(c, "invar.io/AddressAllocated") || !apimeta.IsStatusConditionTrue(c, "invar.io/Announced") ||
				apimeta.IsStatusConditionTrue(c, "invar.io/AddressConflict") {
				return fmt.Errorf("they are %v", c)
			}
			return nil
		})
	}
}

// wantNoConflicts fails if an Event has called a node of the cluster a host outside of it.
func wantNoConflicts(t *testing.T) {
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
}
