//go:build e2e

package security

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/pkg/controller"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// roundInterval is the time between two steps: enough for what one sets off to be written before the next.
const roundInterval = 1200 * time.Millisecond

// provoked is the Service that the steps work on.
const provoked = "provoked"

// other is a configuration beside the sample's that keeps its addresses.
const other = clustertest.Mission + "- name: spare\n  protocol: layer2\n  addresses:\n  - 192.168.1.200/32\n"

// steps make controller and speakers do all that they ever ask the API server for. They are taken in this order, again and
// again; each only asks for something and does not look at what becomes of it, since one of the daemons' rights may be missing.
// The pods start anew first, since most rights are needed at the start.
func steps() []func(context.Context) error {
	return []func(context.Context) error{
		restart,
		func(ctx context.Context) error { return errors.Join(write(ctx, other), takeLease(ctx)) },
		func(ctx context.Context) error {
			return errors.Join(write(ctx, clustertest.Mission), ofType(ctx, corev1.ServiceTypeClusterIP))
		},
		func(ctx context.Context) error {
			return errors.Join(write(ctx, other), ofType(ctx, corev1.ServiceTypeLoadBalancer), from(ctx, "node1"))
		},
		func(ctx context.Context) error { return from(ctx, "node2") },
		func(ctx context.Context) error { return from(ctx, "node1") },
		func(ctx context.Context) error { return from(ctx, "node2") },
		takeSecret,
	}
}

// restart ends the controllers and the speaker of a node; Kubernetes starts others.
func restart(ctx context.Context) error {
	grace := int64(1)
	now := metav1.DeleteOptions{GracePeriodSeconds: &grace}
	pods := lab.Kube.CoreV1().Pods(cluster.Namespace)
	return errors.Join(
		pods.DeleteCollection(ctx, now, metav1.ListOptions{LabelSelector: "component=controller"}),
		pods.DeleteCollection(ctx, now, metav1.ListOptions{LabelSelector: "component=speaker", FieldSelector: "spec.nodeName=node1"}))
}

// write changes the configuration.
func write(ctx context.Context, text string) error {
	maps := lab.Kube.CoreV1().ConfigMaps(cluster.Namespace)
	cm, err := maps.Get(ctx, "config", metav1.GetOptions{})
	if err != nil {
		return err
	}
	cm.Data = map[string]string{kube.ConfigKey: text}
	_, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
	return err
}

// takeLease takes the Lease away, which the controller that leads makes again.
func takeLease(ctx context.Context) error {
	err := lab.Kube.CoordinationV1().Leases(cluster.Namespace).Delete(ctx, controller.LeaseName, metav1.DeleteOptions{})
	return ignoreGone(err)
}

// takeSecret takes the Secret with the speakers' key away, which the controller makes again.
func takeSecret(ctx context.Context) error {
	return ignoreGone(lab.Kube.CoreV1().Secrets(cluster.Namespace).Delete(ctx, "memberlist", metav1.DeleteOptions{}))
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func ofType(ctx context.Context, to corev1.ServiceType) error {
	return patch(ctx, fmt.Sprintf(`{"spec":{"type":%q}}`, to))
}

func from(ctx context.Context, node string) error {
	return patch(ctx, fmt.Sprintf(`{"metadata":{"annotations":{"invar.io/announce-from":%q}}}`, node))
}

func patch(ctx context.Context, text string) error {
	_, err := lab.Kube.CoreV1().Services(clustertest.Namespace).Patch(ctx, provoked, types.MergePatchType, []byte(text), metav1.PatchOptions{})
	return err
}

// provoke takes the steps until until says so, and reports whether it did within bound.
func provoke(t *testing.T, bound time.Duration, until func() bool) bool {
	t.Helper()
	deadline := time.Now().Add(bound)
	for {
		for _, step := range steps() {
			if err := step(t.Context()); err != nil {
				t.Logf("a step failed, which need not matter: %v", err)
			}
			for end := time.Now().Add(roundInterval); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if until() {
					return true
				}
			}
			if time.Now().After(deadline) {
				return false
			}
		}
	}
}
