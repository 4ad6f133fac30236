package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/invar-lb/invar/pkg/ipam"
	"github.com/invar-lb/invar/pkg/kube"
)

// Metrics are what the controller counts: MetalLB's names, and invar_* beyond.
type Metrics struct {
	Kube    *kube.Metrics
	Leading prometheus.Gauge

	waiting  prometheus.Gauge
	stranded prometheus.Gauge

	total, inUse, services *prometheus.GaugeVec // by pool
	family                 map[ipam.Family]usageByFamily
}

type usageByFamily struct{ total, inUse *prometheus.GaugeVec }

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	byPool := func(name, help string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "metallb_allocator_" + name, Help: help}, []string{"pool"})
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "invar_controller_" + name, Help: help})
		reg.MustRegister(g)
		return g
	}
	return &Metrics{
		Kube:     kube.NewMetrics(reg),
		Leading:  gauge("leading_bool", "1 if this controller holds the Lease and works; 0 if it stands by."),
		waiting:  gauge("services_waiting", "Services that ask for an address they can't have now."),
		stranded: gauge("addresses_stranded", "Addresses that Services hold and that lie in no pool any more."),
		total:    byPool("addresses_total", "Number of usable IP addresses per pool."),
		inUse:    byPool("addresses_in_use_total", "Number of IP addresses in use per pool."),
		services: byPool("services_allocated_total", "Number of services allocated per pool."),
		family: map[ipam.Family]usageByFamily{
			ipam.IPv4: {
				byPool("ipv4_addresses_total", "Number of usable IPv4 addresses per pool."),
				byPool("ipv4_addresses_in_use_total", "Number of IPv4 addresses in use per pool."),
			},
			ipam.IPv6: {
				byPool("ipv6_addresses_total", "Number of usable IPv6 addresses per pool."),
				byPool("ipv6_addresses_in_use_total", "Number of IPv6 addresses in use per pool."),
			},
		},
	}
}

// pools forgets the pools that were there, so that those which are gone now leave no series.
func (m *Metrics) pools() {
	for _, v := range []*prometheus.GaugeVec{m.total, m.inUse, m.services} {
		v.Reset()
	}
	for _, f := range m.family {
		f.total.Reset()
		f.inUse.Reset()
	}
}

// standBy says that this controller leads no more, and no longer what the next one knows better.
func (m *Metrics) standBy() {
	m.Leading.Set(0)
	m.pools()
	m.waiting.Set(0)
	m.stranded.Set(0)
}

// usage shows how full the pools are.
func (m *Metrics) usage(pools []ipam.PoolUsage) {
	sum := map[string]ipam.PoolUsage{}
	for _, u := range pools {
		f := m.family[u.Family]
		f.total.WithLabelValues(u.Pool).Set(float64(u.Total))
		f.inUse.WithLabelValues(u.Pool).Set(float64(u.InUse))
		s := sum[u.Pool]
		sum[u.Pool] = ipam.PoolUsage{Total: s.Total + u.Total, InUse: s.InUse + u.InUse, Services: s.Services + u.Services}
	}
	for pool, u := range sum {
		m.total.WithLabelValues(pool).Set(float64(u.Total))
		m.inUse.WithLabelValues(pool).Set(float64(u.InUse))
		m.services.WithLabelValues(pool).Set(float64(u.Services))
	}
}
