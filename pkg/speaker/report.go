package speaker

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
)

// eventAssigned is the reason of the Event on a Service that this node has begun to announce; it is MetalLB's.
const eventAssigned = "nodeAssigned"

// protocol is the value of label protocol in metrics.
const protocol = "layer2"

// announced is one address of one Service as announced from this node.
type announced struct {
	service cache.ObjectName
	addr    netip.Addr
}

// report tells users what has changed in what this node announces: an Event for each Service that it has begun to
// announce, and a metric for each address.
func (s *Speaker) report(f facts, desired map[netip.Addr]layer2.Announcement) {
	now := map[announced]bool{}
	begun := map[cache.ObjectName]bool{}
	for addr, how := range desired {
		if how.Tentative {
			continue
		}
		for _, service := range f.services[addr] {
			a := announced{service, addr}
			now[a] = true
			if !s.announced[a] {
				s.cfg.Logger.Info("announcing", "service", service.String(), "ip", addr)
				s.gauge(a, true)
				begun[service] = true
			}
		}
	}
	for a := range s.announced {
		if !now[a] {
			s.cfg.Logger.Info("withdrawn", "service", a.service.String(), "ip", a.addr)
			s.gauge(a, false)
		}
	}
	s.announced = now
	for service := range begun {
		if obj := kube.Get[corev1.Service](s.services, service); obj != nil {
			s.cfg.Recorder.Eventf(obj, corev1.EventTypeNormal, eventAssigned,
				"announcing from node %q with protocol %q", s.cfg.Node, protocol)
		}
	}
}

func (s *Speaker) gauge(a announced, on bool) {
	labels := []string{a.service.String(), protocol, s.cfg.Node, a.addr.String()}
	if on {
		s.cfg.Metrics.announced.WithLabelValues(labels...).Set(1)
	} else {
		s.cfg.Metrics.announced.DeleteLabelValues(labels...)
	}
}
