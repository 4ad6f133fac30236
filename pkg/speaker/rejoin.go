package speaker

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
)

// Back-off of keepJoining.
const (
	joinSoon  = 200 * time.Millisecond
	joinLater = 2 * time.Second
)

// listed returns where Kubernetes says that the other speakers are, dead or alive.
func (s *Speaker) listed() []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range kube.Addresses(s.peerSlices) {
		if a != s.cfg.BindAddr && a.Is4() == s.cfg.BindAddr.Is4() {
			out = append(out, netip.AddrPortFrom(a, uint16(s.cfg.Port)))
		}
	}
	return out
}

// missing returns the listed speakers that are no members.
func (s *Speaker) missing() []netip.AddrPort {
	peers := s.members.Peers()
	return slices.DeleteFunc(s.listed(), func(a netip.AddrPort) bool {
		for _, p := range peers {
			if p.Addr == a.Addr() {
				return true
			}
		}
		return false
	})
}

// joinAll joins the listed speakers until none is missing, or for as long as wait. A cluster whose speakers all start at
// once would fight over everything if each claimed before it has met the others.
func (s *Speaker) joinAll(ctx context.Context, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		missing := s.missing()
		if len(missing) == 0 {
			return
		}
		n, err := s.members.Join(missing)
		if n == len(missing) {
			return
		}
		s.cfg.Logger.Debug("not all speakers reached", "reached", n, "listed", len(missing), "err", err)
		select {
		case <-time.After(joinSoon):
		case <-ctx.Done():
			return
		}
	}
}

// keepJoining joins listed speakers that are no members: whenever something changes, since a cable may be back, and in any
// case now and then, since a partition may end without a sign.
func (s *Speaker) keepJoining(ctx context.Context) {
	wait := joinSoon
	for ctx.Err() == nil {
		var retry <-chan time.Time
		if missing := s.missing(); len(missing) > 0 {
			if n, _ := s.members.Join(missing); n < len(missing) {
				retry = time.After(wait)
				wait = min(2*wait, joinLater)
			}
		} else {
			wait = joinSoon
		}
		select {
		case <-ctx.Done():
		case <-retry:
		case <-s.joining:
			wait = joinSoon
			select { // what happens at once is looked at once
			case <-time.After(joinSoon / 4):
			case <-ctx.Done():
			}
		}
	}
}

// rejoin is for when what this node knows may be from the past. It answers for nothing until it has exchanged claims with
// one of its peers, or found that none is in reach.
func (s *Speaker) rejoin(d election.Doubt) {
	s.cfg.Logger.Warn("what this speaker knows may be out of date; asking the peers", "cause", d.Cause)
	s.cfg.Metrics.rejoins.WithLabelValues(d.Cause).Inc()
	s.announcer.Set(nil)
	err := s.joinAny(d.Wait)
	if err != nil {
		s.cfg.Logger.Warn("no peer in reach; silent for a while", "for", election.Fence, "err", err)
	}
	s.node.Asked(time.Now(), err == nil)
	s.sync()
}

var errNoPeer = errors.New("no peer answered in time")

// joinAny exchanges claims with the listed speakers and returns as soon as one has answered.
func (s *Speaker) joinAny(wait time.Duration) error {
	listed := s.listed()
	if len(listed) == 0 {
		return nil // there is nobody else to ask
	}
	reached := make(chan bool, len(listed))
	for _, a := range listed {
		go func() {
			n, _ := s.members.Join([]netip.AddrPort{a})
			reached <- n == 1
		}()
	}
	timeout := time.After(wait)
	for range listed {
		select {
		case ok := <-reached:
			if ok {
				return nil
			}
		case <-timeout:
			return errNoPeer
		}
	}
	return errNoPeer
}
