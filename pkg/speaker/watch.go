package speaker

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/membership"
)

// watch is this node's part in the wire watch: see [election.Sentry]. Its methods may be called from any goroutine.
type watch struct {
	mu       sync.Mutex
	targets  map[string]*target
	byAddr   map[netip.Addr]*target
	lastTick time.Time
}

// target is a node that is watched.
type target struct {
	membership.Peer
	election.Sentry
	silent bool
}

func newWatch() *watch {
	return &watch{targets: map[string]*target{}, byAddr: map[netip.Addr]*target{}}
}

// set replaces the nodes to watch. What is known of those that stay is kept.
func (w *watch) set(peers []membership.Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	targets := make(map[string]*target, len(peers))
	clear(w.byAddr)
	for _, p := range peers {
		t := w.targets[p.Name]
		if t == nil || t.Addr != p.Addr {
			t = &target{}
		}
		t.Peer = p
		targets[p.Name], w.byAddr[p.Addr] = t, t
	}
	w.targets = targets
}

// answered notes that addr has answered.
func (w *watch) answered(addr netip.Addr, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.byAddr[addr]; t != nil {
		t.Answered(now)
	}
}

// change is what a tick has found.
type change struct {
	news bool              // somebody fell silent or answers again
	back []membership.Peer // those that answer again
}

// tick judges every node and asks it again. ended says whether a node's process has ended.
func (w *watch) tick(now time.Time, ask func(netip.Addr) error, ended func(membership.Peer) bool) (c change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// After a pause answers may lie in the sockets that nobody has read: let their readers run first.
	late := now.Sub(w.lastTick) > 2*election.ProbeInterval
	w.lastTick = now
	for _, t := range w.targets {
		t.Gone(ended(t.Peer))
		if silent := t.Silent(now); silent != t.silent && !late {
			t.silent, c.news = silent, true
			if !silent {
				c.back = append(c.back, t.Peer)
			}
		}
		if ask(t.Addr) == nil { // what was not asked is not missed
			t.Asked(now)
		}
	}
	return c
}

// silent returns the nodes that don't answer, sorted, and whether these are all that are watched.
func (w *watch) silent() (names []string, all bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.targets)) {
		if w.targets[name].silent {
			names = append(names, name)
		}
	}
	return names, len(names) > 0 && len(names) == len(w.targets)
}

// keepWatch asks and judges until ctx is done. The peers hear at once of what is new.
func (s *Speaker) keepWatch(ctx context.Context) {
	tick := time.NewTicker(election.ProbeInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c := s.watch.tick(time.Now(), s.announcer.Ask, s.members.Ended)
		if !c.news {
			continue
		}
		s.observe()
		s.kick()
		for _, p := range c.back {
			go s.meetAgain(p)
		}
	}
}

// observe tells the peers what this node observes.
func (s *Speaker) observe() {
	silent, _ := s.watch.silent()
	s.members.Report(membership.Observations{Silent: silent})
}

// meetAgain exchanges claims with a peer that was silent: whatever was said meanwhile, it has not heard.
func (s *Speaker) meetAgain(p membership.Peer) {
	if _, err := s.members.Join([]netip.AddrPort{netip.AddrPortFrom(p.Addr, p.Port)}); err != nil {
		s.cfg.Logger.Debug("peer that answers again not reached", "node", p.Name, "err", err)
	}
}

// present takes away the peers that are dead on the wire, and sees to it that this node watches whom it should.
func (s *Speaker) present(peers []membership.Peer) []membership.Peer {
	byName := map[string]membership.Peer{}
	for _, p := range peers {
		if !p.Meta.Observer {
			byName[p.Name] = p
		}
	}
	names := slices.Sorted(maps.Keys(byName))
	var targets []membership.Peer
	for _, name := range election.Targets(s.cfg.Node, names) {
		targets = append(targets, byName[name])
	}
	s.watch.set(targets)
	s.members.Attend(targets)

	reports := map[string][]string{}
	for node, o := range s.members.Reports() {
		reports[node] = o.Silent
	}
	silent := election.Silent(s.cfg.Node, names, reports)
	return slices.DeleteFunc(slices.Clone(peers), func(p membership.Peer) bool { return silent[p.Name] || p.Meta.Observer })
}
