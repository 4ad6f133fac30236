package speaker

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

// sync looks at everything and makes this node announce what it should.
func (s *Speaker) sync() {
	begin := time.Now()
	defer func() { s.looked(begin, time.Now()) }()
	s.cfg.Metrics.Kube.Updates.Inc()
	if err := s.members.Follow(kube.SecretText(s.secret, s.secretName())); err != nil {
		s.cfg.Logger.Error("the speakers' key can't be changed", "err", err)
	}
	poke(s.unsaved)
	f, view := s.look()
	d := s.node.Decide(view)
	if d.Doubt.Cause != "" {
		s.rejoin(d.Doubt)
		return
	}
	s.again = d.Again
	if s.lonely { // nobody tells when a peer begins to answer on the wire
		s.again = earlier(s.again, time.Now().Add(lonelyEvery))
	}
	if time.Now().Before(s.strange) {
		s.again = earlier(s.again, s.strange)
	}
	s.act(f, d)
}

// look returns what this speaker sees, and tells the peers whether it is able to announce.
func (s *Speaker) look() (facts, election.View) {
	members := s.members.Peers()
	peers, blocked := s.present(members)
	s.announcer.SetHurry(s.strangers(members, time.Now()))
	s.peers = peers
	s.cfg.Metrics.members.Set(float64(len(peers)))
	in := s.inputsOfLook(peers)
	own := s.acquaint(members, &in, blocked)
	f := gather(in)
	able := s.canAnnounce(f)
	s.tellMeta(own, able)
	deaf, hears := s.watch.hears()
	alone := s.members.Alone()
	s.watch.attendBystanders(deaf || alone, time.Now(), s.announcer.Bystanders)
	return f, election.View{
		Now: time.Now(), Addresses: f.addresses, Live: f.live, Draining: f.draining, Known: 1 + len(s.listed()),
		Claims: s.members.Claims(), Able: able, Alone: alone, Deaf: deaf, Hears: hears, Blocked: blocked,
		Bystanders: s.hearsBystanders(), Free: s.announcer.Free,
	}
}

// acquaint takes in what the members say of their interfaces, and returns what this node has to say.
func (s *Speaker) acquaint(members []membership.Peer, in *inputs, blocked bool) layer2.Abilities {
	s.known.meet(members, func(node string) bool { _, ok := in.nodes[node]; return ok })
	own := s.abilities(*in)
	s.known.of[s.cfg.Node] = own
	in.abilities = s.known.of
	if blocked {
		s.announcer.SetPeers(nil) // what they hold is not free
	} else {
		s.announcer.SetPeers(s.known.macs(s.cfg.Node))
	}
	return own
}

// tellMeta tells the peers what this node is able to do.
func (s *Speaker) tellMeta(own layer2.Abilities, able bool) {
	carry, err := own.MarshalBinary()
	if err == nil {
		err = s.members.SetMeta(membership.Meta{Announcing: able, Draining: s.draining, Carry: string(carry)})
	}
	if err != nil {
		s.cfg.Logger.Debug("not all peers have heard of this node's state", "err", err)
	}
}

// inputsOfLook is inputs, without working out again what has not changed since the last look. They belong to the worker.
func (s *Speaker) inputsOfLook(peers []membership.Peer) inputs {
	s.wanting.begin()
	s.serving.begin()
	in := s.inputs(peers)
	in.serving = func(name cache.ObjectName) kube.Serving { return kube.ServingOf(s.slices, name, s.serving.of) }
	return in
}

// inputs collects what the speaker sees. Though it has to be called by the worker, they may be used by anyone.
func (s *Speaker) inputs(peers []membership.Peer) inputs {
	in := inputs{
		serving:       func(name cache.ObjectName) kube.Serving { return kube.ServingOf(s.slices, name, kube.ServingIn) },
		nodes:         map[string]kube.Node{},
		peers:         peers,
		pools:         s.pools(),
		class:         s.cfg.LBClass,
		ignoreExclude: s.cfg.IgnoreExclude,
	}
	services := kube.List[corev1.Service](s.services)
	in.services = make([]kube.Service, 0, len(services))
	for _, svc := range services {
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			in.services = append(in.services, *s.wanting.of(svc))
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

// canAnnounce reports whether some interface can carry at least one of the addresses; without addresses it is enough
// that the interfaces are known.
func (s *Speaker) canAnnounce(f facts) bool {
	return s.announcer.Ready() && (len(f.announce) == 0 || slices.ContainsFunc(f.addresses, func(a election.Address) bool {
		ok, _ := s.announcer.CanCarry(a.Addr, f.announce[a.Addr])
		return ok
	}))
}

// act answers for what this node holds, and then tells the peers what it has claimed: by the time the former holder learns
// that it is relieved, the new one answers.
func (s *Speaker) act(f facts, d election.Decision) {
	desired := map[netip.Addr]layer2.Announcement{}
	for _, addr := range slices.Concat(d.Hold, d.Lone) {
		desired[addr] = f.announce[addr]
	}
	for _, addr := range d.Quiet {
		a := f.announce[addr]
		a.Quiet = true
		desired[addr] = a
	}
	for _, addr := range d.Probe {
		a := f.announce[addr]
		a.Tentative = true
		desired[addr] = a
	}
	held := func(addr netip.Addr) bool { a, ok := desired[addr]; return ok && !a.Tentative }
	s.phases.take(d.Moves, func(node string) time.Time { since, _ := s.watch.silentSince(node); return since }, held)
	s.announcer.Set(desired)
	s.noteUnclaimed(d)
	s.members.Claim(d.Claims)
	s.noteDuplicates(held)
	s.noteMoves(d.Moves)
	if contested := s.members.Contested(); len(contested) > 0 {
		s.announcer.Reannounce(contested...)
	}
	s.report(f, desired)
	poke(s.telling)
	s.reportConflicts(f)
}

// noteMoves counts and logs what this node has taken over.
func (s *Speaker) noteMoves(moves []election.Move) {
	s.cfg.Metrics.claims.Add(float64(len(moves)))
	for _, m := range moves {
		move := explain.Move{At: time.Now(), Addr: m.Addr, From: m.From, To: m.To, Cause: string(m.Cause)}
		s.cfg.Metrics.moves.WithLabelValues(move.Cause).Inc()
		if since, missing := s.watch.silentSince(m.From); m.Cause == election.CauseFailure && !since.IsZero() {
			claimed := move.At.Sub(since)
			s.cfg.Metrics.failover.WithLabelValues("claim").Observe(claimed.Seconds())
			move.Took = missing + claimed
		}
		s.moves.add(move)
		if m.Cause != election.CauseFirst {
			s.cfg.Logger.Info("took over", "ip", m.Addr, "node", m.From, "cause", move.Cause)
		}
	}
}

// handOver asks the peers to take what this node holds and answers until they have, or nobody can, or for as long as
// handOverWait. Then it answers for nothing: a claim that came between the last look and the end must not go unheard.
func (s *Speaker) handOver() {
	defer s.announcer.Set(nil)
	s.draining = true
	deadline := time.After(handOverWait)
	for s.attend(true); s.relievable(); s.attend(true) {
		select {
		case <-s.changed:
		case <-s.news:
		case <-s.paused:
		case <-deadline:
			s.cfg.Logger.Warn("left before all addresses were taken over")
			return
		}
	}
}

// relievable reports whether this node holds an address that another should.
func (s *Speaker) relievable() bool {
	_, view := s.look()
	return s.node.Relievable(view)
}
