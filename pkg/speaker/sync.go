package speaker

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

// sync looks at everything and makes this node announce what it should.
func (s *Speaker) sync() {
	s.cfg.Metrics.Kube.Updates.Inc()
	peers := s.members.Peers()
	s.cfg.Metrics.members.Set(float64(len(peers)))
	f := gather(s.inputs(peers))
	if d, ok := s.look(f); ok {
		s.rejoin(d)
		return
	}
	if time.Now().Before(s.fencedUntil) {
		s.announcer.Set(nil)
		return
	}
	s.act(f)
}

// inputs collects what the speaker sees.
func (s *Speaker) inputs(peers []membership.Peer) inputs {
	in := inputs{
		serving:       func(name cache.ObjectName) kube.Serving { return kube.ServingOf(s.slices, name) },
		nodes:         map[string]kube.Node{},
		peers:         peers,
		pools:         s.pools(),
		class:         s.cfg.LBClass,
		ignoreExclude: s.cfg.IgnoreExclude,
	}
	for _, svc := range kube.List[corev1.Service](s.services) {
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			in.services = append(in.services, kube.ServiceOf(svc))
		}
	}
	for _, n := range kube.List[corev1.Node](s.nodes) {
		in.nodes[n.Name] = kube.NodeOf(n)
	}
	return in
}

// pools returns the pools of the last good configuration.
func (s *Speaker) pools() []config.Pool {
	cfg, changed, err := s.source.Load()
	if changed && err != nil {
		s.cfg.Logger.Error("configuration is invalid; the last good one stays in force", "err", err)
	}
	if cfg == nil {
		return nil
	}
	return cfg.Pools
}

// look compares this node's situation with that of the last look, and returns why there is doubt now, if there is. It also
// tells the peers whether this node is able to announce.
func (s *Speaker) look(f facts) (d doubt, ok bool) {
	able := s.canAnnounce(f)
	alone := s.members.Alone()
	switch {
	case able && !s.able:
		d, ok = doubtLink, true
	case alone && !s.alone:
		d, ok = doubtAlone, true
	case !alone && s.alone:
		d, ok = doubtReturn, true
	}
	s.able, s.alone = able, alone
	if err := s.members.SetMeta(able, s.draining, metaWait); err != nil {
		s.cfg.Logger.Debug("not all peers have heard of this node's state", "err", err)
	}
	return d, ok
}

// canAnnounce reports whether some interface can carry at least one of the addresses; without addresses it is enough
// that the interfaces are known.
func (s *Speaker) canAnnounce(f facts) bool {
	return s.announcer.Ready() && (len(f.announce) == 0 || slices.ContainsFunc(f.addresses, func(a election.Address) bool {
		ok, _ := s.announcer.CanCarry(a.Addr, f.announce[a.Addr])
		return ok
	}))
}

// act claims what the plan gives to this node, answers for what its claims hold, and then tells the peers: by the time
// the former holder learns that it is relieved, the new one answers.
func (s *Speaker) act(f facts) {
	claims := s.members.Claims()
	made := s.claim(f, claims)
	desired := map[netip.Addr]layer2.Announcement{}
	for _, a := range f.addresses {
		if claims[a.Addr].Node == s.cfg.Node && len(a.Eligible) > 0 {
			desired[a.Addr] = f.announce[a.Addr]
		}
	}
	s.announcer.Set(desired)
	s.members.Claim(made)
	if contested := s.members.Contested(); len(contested) > 0 {
		s.announcer.Reannounce(contested...)
	}
	s.report(f, desired)
}

// claim adds to claims what this node should hold and does not, and returns it.
func (s *Speaker) claim(f facts, claims election.Claims) []election.Claim {
	if time.Now().Before(s.modestUntil) {
		return nil
	}
	var made []election.Claim
	plan := election.Plan(f.addresses, f.draining, claims)
	for _, a := range f.addresses {
		holder := claims[a.Addr].Node
		if plan[a.Addr] == s.cfg.Node && holder != s.cfg.Node && s.mayTake(a.Addr, f.stays(holder)) {
			c := claims.Next(a.Addr, s.cfg.Node)
			claims.Merge(c)
			made = append(made, c)
		}
	}
	s.cfg.Metrics.claims.Add(float64(len(made)))
	return made
}

// taken is when this node last took an address from a live peer, and for how long it lets a peer have it back since then.
type taken struct {
	at   time.Time
	wait time.Duration
}

// mayTake reports whether this node may claim addr now. stays says that its holder is a live peer that does not take its
// leave. Two nodes whose caches differ may each hold the other unfit; without a pause between one claim and the next they
// would take the address from each other thousands of times a second until their caches agree.
func (s *Speaker) mayTake(addr netip.Addr, stays bool) bool {
	if !stays {
		return true // a failover waits for nothing
	}
	now, t := time.Now(), s.taken[addr]
	if rest := t.at.Add(t.wait).Sub(now); rest > 0 {
		s.wake(rest)
		return false
	}
	if now.Sub(t.at) > takeForget {
		t.wait = 0
	}
	s.taken[addr] = taken{at: now, wait: min(max(2*t.wait, takeSoon), takeLater)}
	return true
}

// handOver asks the peers to take what this node holds and answers until they have, or nobody can, or for as long as
// handOverWait.
func (s *Speaker) handOver() {
	s.draining = true
	deadline := time.After(handOverWait)
	for s.sync(); s.relievable(); s.sync() {
		select {
		case <-s.changed:
		case <-deadline:
			s.cfg.Logger.Warn("left before all addresses were taken over")
			return
		}
	}
}

// relievable reports whether this node holds an address that another should.
func (s *Speaker) relievable() bool {
	claims := s.members.Claims()
	f := gather(s.inputs(s.members.Peers()))
	for addr, node := range election.Plan(f.addresses, f.draining, claims) {
		if claims[addr].Node == s.cfg.Node && node != s.cfg.Node {
			return true
		}
	}
	return false
}
