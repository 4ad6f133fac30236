package speaker

import (
	"context"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
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
	now := map[announced]time.Time{}
	begun := map[cache.ObjectName]bool{}
	for addr, how := range desired {
		if how.Tentative {
			continue
		}
		for _, service := range f.services[addr] {
			a := announced{service, addr}
			since, before := s.announced[a]
			if !before {
				since = time.Now()
			}
			now[a] = since
			if !before {
				s.cfg.Logger.Info("announcing", "service", service.String(), "ip", addr)
				s.gauge(a, true)
				begun[service] = true
			}
		}
	}
	for a := range s.announced {
		if _, still := now[a]; !still {
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

// tellEvery is how often observers hear at most what this node holds: a thousand addresses that move at once are one message.
const tellEvery = 250 * time.Millisecond

// keepTelling tells the observers what this node holds, whenever it may have changed, until ctx is done.
func (s *Speaker) keepTelling(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.telling:
		}
		if !s.observed() {
			continue // one that comes is told by its coming, which pokes
		}
		var held []membership.Holding
		if s.ask(ctx, func() { held = holdings(s.announced, s.moves.latest(), s.announcer.State().Addresses) }) != nil || !s.members.Hold(held) {
			poke(s.telling)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(tellEvery):
		}
	}
}

// observed reports whether anybody listens.
func (s *Speaker) observed() bool {
	return slices.ContainsFunc(s.members.Peers(), func(p membership.Peer) bool { return p.Meta.Observer })
}

// holdings returns the addresses that are announced, given since when each is, for which Service; the moves that this node knows,
// the newest first; and what the Announcer does.
func holdings(announced map[announced]time.Time, moves []explain.Move, doing []layer2.AddressState) []membership.Holding {
	since := make(map[netip.Addr]time.Time, len(announced))
	for a, t := range announced {
		if old, ok := since[a.addr]; !ok || t.Before(old) {
			since[a.addr] = t
		}
	}
	moved := map[netip.Addr]explain.Move{}
	for _, m := range moves {
		if _, later := moved[m.Addr]; !later {
			moved[m.Addr] = m
		}
	}
	held := []membership.Holding{}
	for _, a := range doing {
		t, ok := since[a.Address]
		if !ok || len(a.Interfaces) == 0 {
			continue
		}
		m := moved[a.Address]
		held = append(held, membership.Holding{
			Addr: a.Address, Interfaces: a.Interfaces, Since: t.UTC(), From: m.From, Cause: m.Cause, Took: m.Took,
		})
	}
	return held
}
