package clustertest

import (
	"context"
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/controller"
	"github.com/invar-lb/invar/test/cluster"
)

// Heal plugs a node in again and waits until its speaker is ready and Kubernetes knows.
func (l *Lab) Heal(t *testing.T, node string) {
	t.Helper()
	if err := l.Lab(context.WithoutCancel(t.Context()), "heal", node); err != nil {
		t.Fatal(err)
	}
	Eventually(t, node+" is Ready", func(ctx context.Context) error {
		_, err := l.Kubectl(ctx, "wait", "--for=condition=Ready", "node/"+node, "--timeout=1s")
		return err
	})
}

// SpeakersReady waits until the speakers of all nodes are ready.
func (l *Lab) SpeakersReady(t *testing.T) {
	t.Helper()
	if _, err := l.Kubectl(t.Context(), "-n", cluster.Namespace, "rollout", "status", "daemonset/speaker", "--timeout=120s"); err != nil {
		t.Fatal(err)
	}
}

// SpeakerPID finds the speaker's process of a node.
func (l *Lab) SpeakerPID(t *testing.T, node string) int {
	t.Helper()
	pid, err := l.PID(t.Context(), cluster.Namespace, "component=speaker", node, "speaker")
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// LeaseHolder returns the controller that holds the Lease.
func (l *Lab) LeaseHolder(ctx context.Context) (string, error) {
	lease, err := l.Kube.CoordinationV1().Leases(cluster.Namespace).Get(ctx, controller.LeaseName, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" {
		return *holder, nil
	}
	return "", errors.New("nobody holds the Lease")
}
