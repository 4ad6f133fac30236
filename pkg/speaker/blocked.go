package speaker

import (
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/membership"
)

// blockage says whether the speakers can't talk to each other though they live: no peer is a member, Kubernetes calls some
// ready, and one of these answers on the wire. That takes a while to be sure: a cluster that starts looks alike.
type blockage struct {
	since time.Time // when it began to look so; zero: it does not
	now   bool
}

// note takes in whether a ready peer answers on the wire, and returns what follows.
func (b blockage) note(hears bool, now time.Time) blockage {
	switch {
	case !hears:
		return blockage{}
	case b.since.IsZero():
		return blockage{since: now}
	}
	return blockage{since: b.since, now: now.Sub(b.since) >= blockedWait}
}

// ready returns the speakers that Kubernetes calls ready, this one included even if it is not: it can announce by what it
// knows.
func (s *Speaker) ready() []membership.Peer {
	self := membership.Peer{Name: s.cfg.Node, Addr: s.cfg.BindAddr, Port: uint16(s.cfg.Port), Meta: membership.Meta{Announcing: true}}
	peers := []membership.Peer{self}
	for _, sp := range kube.ReadySpeakers(s.peerSlices) {
		if sp.Node != s.cfg.Node && sp.Addr.Is4() == s.cfg.BindAddr.Is4() {
			peers = append(peers, membership.Peer{Name: sp.Node, Addr: sp.Addr, Port: self.Port, Meta: self.Meta})
		}
	}
	return peers
}

// strangerMemory is for how long what is heard on the LAN may come from a speaker that has just gone.
const strangerMemory = 5 * time.Second

// strangers reports whether there are speakers, or were a moment ago, that serve as Kubernetes says and that are no members: those
// that are being replaced by this version, such as MetalLB's, which answer without claims. If so, it may soon be over.
func (s *Speaker) strangers(members []membership.Peer, now time.Time) bool {
	for _, sp := range kube.ServingSpeakers(s.peerSlices) {
		if sp.Node != s.cfg.Node && sp.Addr.Is4() == s.cfg.BindAddr.Is4() &&
			!slices.ContainsFunc(members, func(p membership.Peer) bool { return p.Addr == sp.Addr }) {
			s.strange = now.Add(strangerMemory)
		}
	}
	return now.Before(s.strange)
}

// noteBlocked tells loudly when the speakers turn out to be blocked, and when they are not any more.
func (s *Speaker) noteBlocked(now blockage) {
	was := s.blocked.now
	s.blocked = now
	switch {
	case now.now && !was:
		s.cfg.Metrics.blocked.Set(1)
		s.cfg.Logger.Error("no other speaker can be talked to, though Kubernetes calls them ready and their nodes answer on the LAN: "+
			"is TCP and UDP to this port blocked between the nodes? Until it is open, each address is announced by the node that "+
			"its hash gives, and failures are noticed only when Kubernetes notices them", "port", s.cfg.Port)
	case was && !now.now:
		s.cfg.Metrics.blocked.Set(0)
		s.cfg.Logger.Info("other speakers can be talked to again")
	}
}

// earlier returns the earlier of two times, of which a may be zero for never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
