package clustertest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/test/cluster"
)

// Configure puts a configuration in place of the sample, for the time of the test.
func (l *Lab) Configure(t *testing.T, text string) {
	t.Helper()
	l.SetConfig(t, text)
	t.Cleanup(func() { l.SetConfig(t, Mission) })
}

// SetConfig writes a configuration and, if it is valid, waits until the controller has its pools. It hears of the configuration
// and of Services on different ways: a Service made at once might still be given an address of the pools before.
func (l *Lab) SetConfig(t *testing.T, text string) {
	t.Helper()
	maps := l.Kube.CoreV1().ConfigMaps(cluster.Namespace)
	Eventually(t, "write the configuration", func(ctx context.Context) error {
		cm, err := maps.Get(ctx, "config", metav1.GetOptions{})
		if err != nil {
			return err
		}
		cm.Data = map[string]string{"config": text}
		_, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
		return err
	})
	if cfg, err := config.Parse(text); err == nil {
		l.inForce(t, cfg)
	}
}

// inForce waits until the metrics of the controller that leads show the pools of a configuration, and no others.
func (l *Lab) inForce(t *testing.T, cfg *config.Config) {
	t.Helper()
	want := []string{}
	for _, p := range cfg.Pools {
		total := uint64(0)
		for _, r := range p.Ranges {
			total += r.Capacity(p.AvoidBuggyIPs)
		}
		want = append(want, fmt.Sprintf("metallb_allocator_addresses_total{pool=%q} %d", p.Name, total))
	}
	slices.Sort(want)
	Eventually(t, "the pools are in force", func(ctx context.Context) error {
		leader, err := l.LeaseHolder(ctx)
		if err != nil {
			return err
		}
		got, err := l.Metrics(ctx, leader, "metallb_allocator_addresses_total")
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("want %q, the metrics show %q", want, got)
		}
		return err
	})
}
