package layer2

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/invar-lb/invar/pkg/responder"
)

// Metrics is the Prometheus side of an [Announcer]. The series of an address exist while the address is desired.
type Metrics struct {
	stats     responder.Stats
	defences  atomic.Uint64
	lost      atomic.Uint64 // sightings
	conflicts atomic.Int64

	mu        sync.Mutex
	addresses map[netip.Addr]*counter
	eligible  int

	requests, responses, gratuitous, foreign            *prometheus.Desc // by ip
	dropped, sightings, reopened, interfaces            *prometheus.Desc
	probesSent, defencesSent, inConflict, sightingsLost *prometheus.Desc
}

// NewMetrics registers the metrics with reg:
//
//   - metallb_layer2_requests_received, metallb_layer2_responses_sent, metallb_layer2_gratuitous_sent: counters by ip, with
//     the names and the meaning that MetalLB gives them;
//   - invar_layer2_frames_dropped_total: frames that passed the kernel filter but weren't answered, by protocol and reason;
//   - invar_layer2_sightings_total: frames in which somebody else, a peer or not, claimed an address or probed for it, by
//     protocol; invar_layer2_sightings_lost_total: those that came faster than they could be looked at;
//   - invar_layer2_foreign_sightings_total: those of hosts that are no peers, by ip;
//   - invar_layer2_conflicts: addresses that such a host has too, as far as is known now;
//   - invar_layer2_probes_sent_total: frames that asked whether anyone has an address;
//   - invar_layer2_defences_total: announcements because a foreign host claimed an address that this node holds;
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
		foreign: invar("foreign_sightings_total",
			"Frames in which a host that is no peer claimed an address or probed for it.", "ip"),
		sightings: invar("sightings_total",
			"Frames in which another host, peer or not, claimed an address or probed for it.", "protocol"),
		sightingsLost: invar("sightings_lost_total", "Sightings that came faster than they could be looked at."),
		inConflict:    invar("conflicts", "Addresses that a host has that is no peer."),
		probesSent:    invar("probes_sent_total", "Frames sent to find out whether anyone has an address."),
		defencesSent: invar("defences_total",
			"Announcements because another host claimed an address that this node holds."),
		reopened:   invar("sockets_reopened_total", "Packet sockets that failed and were opened again."),
		interfaces: invar("interfaces", "Network interfaces that can carry announcements."),
	}
	reg.MustRegister(m)
	return m
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		m.requests, m.responses, m.gratuitous, m.foreign, m.dropped, m.sightings, m.reopened, m.interfaces,
		m.probesSent, m.defencesSent, m.inConflict, m.sightingsLost,
	} {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(desc *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
	}
	m.stats.EachDrop(func(p responder.Protocol, d responder.Drop, n uint64) {
		count(m.dropped, n, p.String(), d.String())
	})
	for _, p := range []responder.Protocol{responder.ARP, responder.NDP} {
		count(m.sightings, m.stats.Sightings(p), p.String())
	}
	count(m.reopened, m.stats.Reopened.Load())
	count(m.probesSent, m.stats.Probes.Load())
	count(m.defencesSent, m.defences.Load())
	count(m.sightingsLost, m.lost.Load())
	ch <- prometheus.MustNewConstMetric(m.inConflict, prometheus.GaugeValue, float64(m.conflicts.Load()))
	m.mu.Lock()
	defer m.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(m.interfaces, prometheus.GaugeValue, float64(m.eligible))
	for addr, c := range m.addresses {
		ip := addr.String()
		count(m.requests, c.Requests.Load(), ip)
		count(m.responses, c.Answers.Load(), ip)
		count(m.gratuitous, c.Announcements.Load(), ip)
		count(m.foreign, c.foreign.Load(), ip)
	}
}

// setAddresses replaces the addresses that have series.
func (m *Metrics) setAddresses(addresses map[netip.Addr]*counter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addresses = addresses
}

func (m *Metrics) setConflicts(n int) { m.conflicts.Store(int64(n)) }

func (m *Metrics) setInterfaces(eligible int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.eligible = eligible
}
