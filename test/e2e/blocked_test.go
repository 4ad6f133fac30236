//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// TestBlockedPort drops what the speakers say to each other: each address is answered by one node all the same, and the
// speakers say loudly what is wrong.
func TestBlockedPort(t *testing.T) {
	addrs := []string{"192.168.1.160", "192.168.1.161", "192.168.1.162"}
	for i, addr := range addrs {
		name := fmt.Sprintf("blocked-%d", i)
		lab.Create(t, name)
		lab.WantAddresses(t, name, addr)
		lab.WantHolder(t, addr)
	}
	for _, h := range lab.Nodes() {
		block(t, h.Name)
	}
	wantBlocked(t, "1")
	for _, addr := range addrs {
		lab.WantHolder(t, addr)
		lab.WantHTTP(t, addr)
	}
	for _, h := range lab.Nodes() {
		unblock(t, h.Name)
	}
	wantBlocked(t, "0")
	for _, addr := range addrs {
		lab.WantHolder(t, addr)
		lab.WantHTTP(t, addr)
	}
}

const blockRules = `table inet invar_test {
	chain input {
		type filter hook input priority -10
		meta l4proto { tcp, udp } th dport 7946 drop
	}
}`

func block(t *testing.T, node string) {
	t.Helper()
	if _, err := lab.Run(t.Context(), node, "nft", blockRules); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unblock(t, node) })
}

func unblock(t *testing.T, node string) {
	t.Helper()
	_, err := lab.Run(context.WithoutCancel(t.Context()), node, "nft", "delete table inet invar_test")
	if err != nil && !strings.Contains(err.Error(), "No such file") {
		t.Error(err)
	}
}

// wantBlocked waits for all speakers to say whether they can talk to others.
func wantBlocked(t *testing.T, value string) {
	t.Helper()
	line := "invar_speaker_blocked_bool " + value
	clustertest.Eventually(t, line+" everywhere", func(ctx context.Context) error {
		pods, err := lab.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "component=speaker"})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			got, err := lab.Metrics(ctx, p.Name, "invar_speaker_blocked_bool")
			if err == nil && !slices.Equal(got, []string{line}) {
				err = fmt.Errorf("on %s: %q", p.Spec.NodeName, got)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
