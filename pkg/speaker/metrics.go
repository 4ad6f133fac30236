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

	announced  *prometheus.GaugeVec
	members    prometheus.Gauge
	claims     prometheus.Counter
	rejoins    *prometheus.CounterVec
	moves      *prometheus.CounterVec
	failover   *prometheus.HistogramVec
	duplicates prometheus.Histogram
	silences   prometheus.Counter
	blocked    prometheus.Gauge
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
	m.moves = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "invar_speaker_moves_total", Help: "Addresses that this speaker has taken over, by cause.",
	}, []string{"cause"})
	m.failover = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "invar_speaker_failover_seconds",
		Help: "How long the phases of a failover took on this speaker: detect, from the first question that a node left " +
			"unanswered until it was found silent; claim, from that moment until its addresses were claimed; first_frame, from " +
			"the same moment until each of them was announced.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 12),
	}, []string{"phase"})
	m.duplicates = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "invar_speaker_duplicate_seconds",
		Help: "For how long an address had two holders: from a peer's announcement of one that this speaker holds until one " +
			"of the two has withdrawn.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	m.silences = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "invar_speaker_suspicions_total", Help: "Times that a node fell silent on the wire, as seen by this speaker.",
	})
	m.blocked = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "invar_speaker_blocked_bool",
		Help: "1 if this speaker can talk to no other, though they are ready and their nodes answer on the LAN.",
	})
	reg.MustRegister(m.announced, m.members, m.claims, m.rejoins, m.moves, m.failover, m.duplicates, m.silences, m.blocked)
	return m
}
