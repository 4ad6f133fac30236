package kube

import "github.com/prometheus/client_golang/prometheus"

// Metrics are MetalLB's metallb_k8s_client_* metrics, which both daemons serve.
type Metrics struct {
	Updates      prometheus.Counter // changes that were worked off
	UpdateErrors prometheus.Counter // of these, the ones that failed and are tried again
	configLoaded prometheus.Gauge
	configStale  prometheus.Gauge
}

// NewMetrics registers the metrics with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		Updates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metallb_k8s_client_updates_total", Help: "Number of changes of Kubernetes objects that were processed.",
		}),
		UpdateErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "metallb_k8s_client_update_errors_total", Help: "Number of changes of Kubernetes objects whose processing failed.",
		}),
		configLoaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metallb_k8s_client_config_loaded_bool", Help: "1 if a valid configuration is in force.",
		}),
		configStale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metallb_k8s_client_config_stale_bool",
			Help: "1 if the newest configuration is invalid or missing, so that an older one, or none, is in force.",
		}),
	}
	reg.MustRegister(m.Updates, m.UpdateErrors, m.configLoaded, m.configStale)
	return m
}

// ConfigLoaded notes that the newest configuration is in force.
func (m *Metrics) ConfigLoaded() {
	m.configLoaded.Set(1)
	m.configStale.Set(0)
}

// ConfigStale notes that the newest configuration is invalid or missing.
func (m *Metrics) ConfigStale() { m.configStale.Set(1) }
