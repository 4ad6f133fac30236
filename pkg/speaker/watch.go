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
	mu      sync.Mutex
	targets map[string]*target
	byAddr  map[netip.Addr]*target
	missing map[netip.AddrPort]*absence
	looked  time.Time // when answers were collected last
	round   time.Time // when all are to be asked again
	pulse   election.Pulse

	bystanders bystanders

	onAnswer func(netip.Addr) // note
}

// target is a node that is watched.
type target struct {
	membership.Peer
	election.Sentry
	heard  bool          // it has ever answered
	new    int           // answers that were collected last
	mute   bool          // its kernel does not answer any more
	silent bool          // it is mute, or its speaker has ended
	absent bool          // it has not answered the last roll call
	since  time.Time     // of silent
	took   time.Duration // to find that out
}

// absence is that of a speaker that Kubernetes lists and that is no member.
type absence struct {
	since, asked time.Time
	open         bool // nobody has answered since asked
	answered     bool // as was collected last
}

func newWatch() *watch {
	w := &watch{targets: map[string]*target{}, byAddr: map[netip.Addr]*target{}, missing: map[netip.AddrPort]*absence{}}
	w.onAnswer = w.note
	return w
}

// set replaces the nodes to watch. What is known of those that stay is kept. absent are nodes that have not answered the last roll call.
func (w *watch) set(peers []membership.Peer, absent []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	targets := make(map[string]*target, len(peers))
	clear(w.byAddr)
	for _, p := range peers {
		t := w.targets[p.Name]
		if t == nil || t.Addr != p.Addr {
			t = &target{}
		}
		t.Peer, t.absent = p, slices.Contains(absent, p.Name)
		targets[p.Name], w.byAddr[p.Addr] = t, t
	}
	w.targets = targets
}

// seek replaces the speakers to look for. What is known of those that stay is kept.
func (w *watch) seek(missing []netip.AddrPort, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.missing
	w.missing = make(map[netip.AddrPort]*absence, len(missing))
	for _, a := range missing {
		if w.missing[a] = old[a]; old[a] == nil {
			w.missing[a] = &absence{since: now}
		}
	}
}

// wire is how nodes are asked.
type wire interface {
	// Ask asks a host for its own address.
	Ask(addr netip.Addr) error
	// Collect calls answered for each answer that has come since the last call, with the host that it came from.
	Collect(answered func(netip.Addr))
}

// change is what a tick has found.
type change struct {
	fell   []fall            // those that fell silent
	back   []membership.Peer // those that answer again
	met    []netip.AddrPort  // speakers whose nodes answer, though they are no members
	paused bool              // this process did not run for a while: see [watch.pause]
	next   time.Time         // when to tick again
}

// fall is a node that fell silent.
type fall struct {
	node string
	took time.Duration // to find that out
}

// tick takes in the answers, judges every node and asks again: all each ProbeInterval, and those whose answer is overdue at once.
// However late it is called, an answer that has come counts.
// ended says whether a node's process has ended.
func (w *watch) tick(now time.Time, wire wire, ended func(membership.Peer) bool) (c change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.paused = w.pulse.Beat(now)
	wire.Collect(w.onAnswer)
	for a, m := range w.missing {
		if m.open && m.answered {
			m.open = false
			c.met = append(c.met, a)
		}
		m.answered = false
	}
	looked := w.looked
	w.looked = now
	everyone := !now.Before(w.round)
	if everyone {
		w.round = now.Add(election.ProbeInterval)
	}
	c.next = w.round
	for _, t := range w.targets {
		if t.new > 0 {
			t.Answered(looked, t.new) // it may have come right after
			t.heard, t.new = true, 0
		}
		t.Gone(ended(t.Peer))
		t.mute = t.Mute(now)
		if silent := t.Silent(now); silent != t.silent {
			t.silent, t.since = silent, now
			if silent {
				t.took = t.Missing(now)
				c.fell = append(c.fell, fall{t.Name, t.took})
			} else {
				c.back = append(c.back, t.Peer)
			}
		}
		overdue := t.Overdue(now)
		if !everyone && !overdue {
			continue
		}
		if wire.Ask(t.Addr) != nil { // what was not asked is not missed
			t.Unable()
			continue
		}
		t.Asked(now)
		if overdue || t.silent { // that it answers again is to be known at once, too
			c.next = earlier(c.next, now.Add(election.HurryInterval))
		}
	}
	w.bystanders.tick(now, wire)
	if everyone && w.look(now, wire) {
		c.next = earlier(c.next, now.Add(election.HurryInterval))
	}
	return c
}

// note notes an answer of a host. The caller holds w.mu.
func (w *watch) note(addr netip.Addr) {
	if t := w.byAddr[addr]; t != nil {
		t.new++
	}
	for a, m := range w.missing {
		m.answered = m.answered || a.Addr() == addr
	}
	w.bystanders.note(addr, w.looked)
}

// look asks the nodes of speakers that are missing and reports whether there are any to ask. Those that are watched have been
// asked already. The caller holds w.mu.
func (w *watch) look(now time.Time, wire wire) (asked bool) {
	for a, m := range w.missing {
		if now.Sub(m.asked) < election.SeekInterval(now.Sub(m.since)) {
			continue
		}
		m.asked, m.open = now, true
		if w.byAddr[a.Addr()] == nil && wire.Ask(a.Addr()) == nil {
			asked = true
		}
	}
	return asked
}

// pause returns the longest time without a tick since the last call.
func (w *watch) pause(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pulse.Pause(now)
}

// silent returns the nodes that are silent, sorted: also those that have never answered on the wire, if they don't answer by any other
// way either. Who is watched anew, after a LAN has fallen apart, may be one of these.
func (w *watch) silent() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.targets)) {
		if t := w.targets[name]; t.silent || !t.heard && t.absent {
			names = append(names, name)
		}
	}
	return names
}

// hears reports whether all are mute that are watched, and whether one of them answers.
func (w *watch) hears() (deaf, hears bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	deaf = len(w.targets) > 0
	for _, t := range w.targets {
		deaf = deaf && t.mute
		hears = hears || t.heard && !t.mute
	}
	return deaf, hears
}

// silentSince returns when node fell silent, zero if it is not, and for how long it had not answered by then.
func (w *watch) silentSince(node string) (since time.Time, missing time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := w.targets[node]; t != nil && t.silent {
		return t.since, t.took
	}
	return time.Time{}, 0
}

// keepWatch asks and judges until ctx is done. The peers hear at once of what is new. As long as nothing is, this is what wakes a
// speaker most often.
func (s *Speaker) keepWatch(ctx context.Context, tick *alarm) {
	defer s.deadman.release() // there are no more beats
	defer tick.close()
	defer context.AfterFunc(ctx, tick.close)()
	for next := time.Now(); ; {
		if err := tick.wait(next); err != nil {
			if ctx.Err() == nil {
				s.cfg.Logger.Error("the nodes of peers are not watched any more", "err", err)
			}
			return
		}
		now := time.Now()
		c := s.watch.tick(now, s.announcer, s.members.Ended)
		next = c.next
		if alive := s.deadman.beat(now); c.paused || !alive {
			poke(s.paused)
		}
		if len(c.met) > 0 {
			go s.meet(c.met)
		}
		if len(c.fell)+len(c.back) == 0 {
			continue
		}
		s.observe()
		s.kick()
		s.noteFalls(c.fell)
		for _, p := range c.back {
			s.cfg.Logger.Info("node answers again on the wire", "node", p.Name)
			go s.meetAgain(p)
		}
	}
}

// meet exchanges members and claims with speakers. One that can't be reached is asked again, as it is still missing.
func (s *Speaker) meet(addrs []netip.AddrPort) {
	if n, err := s.members.Join(addrs); err != nil {
		s.cfg.Logger.Debug("not all speakers reached whose nodes answer", "reached", n, "err", err)
	}
}

func (s *Speaker) noteFalls(fell []fall) {
	for _, f := range fell {
		s.cfg.Logger.Warn("node is silent on the wire", "node", f.node, "for", f.took)
		s.cfg.Metrics.silences.Inc()
		s.cfg.Metrics.failover.WithLabelValues("detect").Observe(f.took.Seconds())
	}
}

// observe tells the peers what this node observes.
func (s *Speaker) observe() {
	s.observing.Lock() // so that the newer of two observations is told last
	defer s.observing.Unlock()
	s.members.Report(membership.Observations{Silent: s.watch.silent(), Conflicts: s.toReport})
}

// onPeer hears that a peer announces an address that this node holds. A moment later, when the peer's claim has had time to
// arrive, that means that the two see things differently.
func (s *Speaker) onPeer(addr netip.Addr, node string) {
	s.phases.seen(addr, time.Now())
	time.AfterFunc(claimWait, func() {
		if s.members == nil || s.members.Holder(addr) != s.cfg.Node {
			return
		}
		s.announcer.Defend(addr) // if the peer can't be talked to, hosts here should not go by its word
		if !s.meetings.begin(node, time.Now()) {
			return
		}
		s.cfg.Logger.Info("a peer announces what this node holds; asking it", "ip", addr, "node", node)
		for _, p := range s.members.Peers() {
			if p.Name == node {
				s.meetAgain(p)
			}
		}
	})
}

// meetings keeps exchanges with one peer apart.
type meetings struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// begin reports whether it is time for another exchange with node.
func (m *meetings) begin(node string, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.last[node]) < meetEvery {
		return false
	}
	if m.last == nil {
		m.last = map[string]time.Time{}
	}
	m.last[node] = now
	return true
}

// meetAgain exchanges claims with a peer that was silent: whatever was said meanwhile, it has not heard.
func (s *Speaker) meetAgain(p membership.Peer) {
	s.meet([]netip.AddrPort{netip.AddrPortFrom(p.Addr, p.Port)})
}

// missing returns the speakers to look for: those listed that this one would watch if all were members, and that are none.
func (s *Speaker) missing(members []membership.Peer) (missing []netip.AddrPort) {
	own := s.cfg.BindAddr.String()
	byName := map[string]netip.AddrPort{own: {}}
	for _, a := range s.listed() {
		byName[a.Addr().String()] = a
	}
	for _, name := range election.Targets(own, slices.Collect(maps.Keys(byName))) {
		a := byName[name]
		if !slices.ContainsFunc(members, func(p membership.Peer) bool { return p.Addr == a.Addr() }) {
			missing = append(missing, a)
		}
	}
	return missing
}

// present returns the peers that live, this node included, and sees to it that this node watches whom it should. It leaves out
// those that are dead on the wire. If the speakers can't talk to each other it returns those that Kubernetes calls ready.
func (s *Speaker) present(members []membership.Peer) (peers []membership.Peer, blocked bool) {
	byName := map[string]membership.Peer{}
	for _, p := range members {
		if !p.Meta.Observer {
			byName[p.Name] = p
		}
	}
	var ready []membership.Peer
	if len(byName) <= 1 {
		ready = s.ready()
		for _, p := range ready { // whether they answer on the wire is of interest
			byName[p.Name] = p
		}
	}
	names := slices.Sorted(maps.Keys(byName))
	var targets []membership.Peer
	for _, name := range election.Targets(s.cfg.Node, names) {
		targets = append(targets, byName[name])
	}
	absent := s.members.Absent()
	s.watch.set(targets, absent)
	s.watch.seek(s.missing(members), time.Now())
	s.observe() // one that is no target any more is not to be called silent
	if s.lonely = len(ready) > 1; s.lonely {
		_, hears := s.watch.hears()
		s.noteBlocked(s.blocked.note(hears, time.Now()))
	} else {
		s.noteBlocked(blockage{})
	}
	if s.blocked.now {
		return ready, true
	}
	s.members.Attend(targets)
	dead := s.dead(names, absent)
	return slices.DeleteFunc(slices.Clone(members), func(p membership.Peer) bool { return dead[p.Name] || p.Meta.Observer }), false
}

// dead returns those of names that are dead on the wire, and has the roll called if that may not be all. absent are those that have not
// answered the last time: they have no voice, as those whom this node finds silent.
func (s *Speaker) dead(names, absent []string) map[string]bool {
	reports := map[string][]string{}
	for node, o := range s.members.Reports() {
		reports[node] = o.Silent
	}
	heard := maps.Clone(reports)
	heard[s.cfg.Node] = slices.Concat(reports[s.cfg.Node], absent)
	dead := election.Silent(s.cfg.Node, names, heard)
	for _, node := range absent {
		delete(reports, node)
	}
	deaf, _ := s.watch.hears()
	s.roll.note(deaf || inQuestion(s.cfg.Node, names, reports, dead), deaf)
	return dead
}
