package controller

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/invar-lb/invar/pkg/ipam"
)

// TestStandBy checks that a controller which leads no more says nothing of what the new one knows better: a pool that two tell
// of makes queries fail that match pools.
func TestStandBy(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	m.Leading.Set(1)
	m.usage([]ipam.PoolUsage{{Pool: "default", Family: ipam.IPv4, Total: 10, InUse: 3, Services: 3}})
	m.waiting.Set(2)
	m.stranded.Set(1)
	if n, err := testutil.GatherAndCount(reg, "metallb_allocator_addresses_total"); n != 1 || err != nil {
		t.Fatalf("%d series of the pool, %v; want 1", n, err)
	}

	m.standBy()
	for _, name := range []string{
		"metallb_allocator_addresses_total", "metallb_allocator_addresses_in_use_total",
		"metallb_allocator_services_allocated_total", "metallb_allocator_ipv4_addresses_total",
	} {
		if n, err := testutil.GatherAndCount(reg, name); n != 0 || err != nil {
			t.Errorf("%s: %d series, %v; want none", name, n, err)
		}
	}
	for name, g := range map[string]prometheus.Gauge{"leading": m.Leading, "waiting": m.waiting, "stranded": m.stranded} {
		if got := testutil.ToFloat64(g); got != 0 {
			t.Errorf("%s is %v, want 0", name, got)
		}
	}
}
