package speaker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
)

// Metrics are what the speaker and its Announcer count.
type Metrics struct {
	Kube   *kube.Metrics
	Layer2 *layer2.Metrics

	announced *prometheus.GaugeVec
	members   prometheus.Gauge
	claims    prometheus.Counter
	rejoins   *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		Kube:   kube.NewMetrics(reg),
		Layer2: layer2.NewMetrics(reg),
		announced: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "metallb_speaker_announced", Help: "Services announced from this node: 1 for each of their addresses.",
		}, []string{"service", "protocol", "node", "ip"}),
		members: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "invar_speaker_members", Help: "Live speakers that this speaker sees, itself included.",
		}),
		claims: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "invar_speaker_claims_total", Help: "Addresses that this speaker has claimed.",
		}),
		rejoins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "invar_speaker_rejoins_total",
			Help: "Times that this speaker stopped answering until it had merged its peers' claims, by cause.",
		}, []string{"cause"}),
	}
	reg.MustRegister(m.announced, m.members, m.claims, m.rejoins)
	return m
}
