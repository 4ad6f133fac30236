package speaker

import (
	"net/netip"
	"time"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
)

// listed returns where Kubernetes says that the other speakers are, dead or alive.
func (s *Speaker) listed() []netip.AddrPort {
	return kube.SpeakersBeside(s.peerSlices, s.cfg.BindAddr, s.cfg.Port)
}

// catchUp exchanges claims with a peer while this node goes on answering: it may have missed some.
func (s *Speaker) catchUp() {
	if err := s.members.JoinAny(s.listed, election.DoubtPaused.Wait); err != nil {
		s.cfg.Logger.Debug("no peer reached after a short pause", "err", err)
	}
}

// rejoin is for when what this node knows may be from the past. It answers for nothing until it has exchanged claims with
// one of its peers, or found that none is in reach.
func (s *Speaker) rejoin(d election.Doubt) {
	s.cfg.Logger.Warn("what this speaker knows may be out of date; asking the peers", "cause", d.Cause)
	s.cfg.Metrics.rejoins.WithLabelValues(d.Cause).Inc()
	s.announcer.Set(nil)
	s.deadman.arm(time.Now())
	err := s.members.JoinAny(s.listed, d.Wait)
	if err != nil {
		s.cfg.Logger.Warn("no peer in reach; silent for a while", "for", election.Fence, "err", err)
	}
	s.node.Asked(time.Now(), err == nil)
	if err == nil {
		s.renounce()
	}
	s.sync()
}
