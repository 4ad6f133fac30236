package layer2

import (
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/invar-lb/invar/pkg/responder"
)

// Metrics is the Prometheus side of an [Announcer]. The series of an address exist while the address is desired.
type Metrics struct {
	stats responder.Stats

	mu        sync.Mutex
	addresses map[netip.Addr]*responder.Counter
	eligible  int

	requests, responses, gratuitous *prometheus.Desc
	dropped, reopened, interfaces   *prometheus.Desc
}

// NewMetrics registers the metrics with reg:
//
//   - metallb_layer2_requests_received, metallb_layer2_responses_sent, metallb_layer2_gratuitous_sent: counters by ip, with
//     the names and the meaning that MetalLB gives them;
//   - invar_layer2_frames_dropped_total: frames that passed the kernel filter but weren't answered, by protocol and reason;
//   - invar_layer2_sockets_reopened_total: sockets that failed and work again;
//   - invar_layer2_interfaces: interfaces that can carry announcements.
//
// It panics if they are registered there already.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	byIP := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("metallb_layer2_"+name, help, []string{"ip"}, nil)
	}
	invar := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("invar_layer2_"+name, help, labels, nil)
	}
	m := &Metrics{
		requests:   byIP("requests_received", "Number of layer2 requests received for owned IPs."),
		responses:  byIP("responses_sent", "Number of layer2 responses sent for owned IPs in response to requests."),
		gratuitous: byIP("gratuitous_sent", "Number of gratuitous layer2 packets sent for owned IPs."),
		dropped: invar("frames_dropped_total",
			"Frames that passed the kernel filter and were not answered.", "protocol", "reason"),
		reopened:   invar("sockets_reopened_total", "Packet sockets that failed and were opened again."),
		interfaces: invar("interfaces", "Network interfaces that can carry announcements."),
	}
	reg.MustRegister(m)
	return m
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		m.requests, m.responses, m.gratuitous, m.dropped, m.reopened, m.interfaces,
	} {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(desc *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	m.stats.EachDrop(func(p responder.Protocol, d responder.Drop, n uint64) {
		counter(m.dropped, n, p.String(), d.String())
	})
	counter(m.reopened, m.stats.Reopened.Load())
	m.mu.Lock()
	defer m.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(m.interfaces, prometheus.GaugeValue, float64(m.eligible))
	for addr, c := range m.addresses {
		ip := addr.String()
		counter(m.requests, c.Requests.Load(), ip)
		counter(m.responses, c.Answers.Load(), ip)
		counter(m.gratuitous, c.Announcements.Load(), ip)
	}
}

// setAddresses replaces the addresses that have series.
func (m *Metrics) setAddresses(addresses map[netip.Addr]*responder.Counter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addresses = addresses
}

func (m *Metrics) setInterfaces(eligible int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.eligible = eligible
}
