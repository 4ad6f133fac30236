//go:build e2e

package upgrade

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// pause is for how long a rollout stands still with speakers of two kinds. It is longer than the time after which a speaker that
// has found an address in use asks again the first time.
const pause = 15 * time.Second

// TestMetalLBHalfWay replaces MetalLB's speakers one after the other, with a pause after each.
func TestMetalLBHalfWay(t *testing.T) {
	install(t, metalLB(t))
	addrs := services(t)
	apply(t, thisInvar(t).onDelete(t))
	for _, h := range lab.Nodes() {
		w := observe(t, addrs)
		replaceSpeaker(t, h.Name)
		time.Sleep(pause)
		all, noise := w.end(t, h.Name+" from MetalLB to Invar")
		wantShort(t, all, noise)
		wantOne(t, all)
	}
	wantKept(t, addrs)
	wantOnly(t, thisInvar(t))
	wantConditions(t, addrs)
	wantNoConflicts(t, addrs)
}

// replaceSpeaker deletes the speaker's pod of a node and waits until another one is ready.
func replaceSpeaker(t *testing.T, node string) {
	t.Helper()
	if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "delete", "pod", "-l", "component=speaker",
		"--field-selector", "spec.nodeName="+node, "--wait=true"); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "the new speaker of "+node+" is ready", func(ctx context.Context) error {
		pods, err := lab.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{
			LabelSelector: "component=speaker", FieldSelector: "spec.nodeName=" + node,
		})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil {
					return nil
				}
			}
		}
		return fmt.Errorf("not in %d pods", len(pods.Items))
	})
}
