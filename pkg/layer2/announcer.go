package layer2

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/invar-lb/invar/pkg/netif"
	"github.com/invar-lb/invar/pkg/responder"
)

// Config configures an [Announcer].
type Config struct {
	// Logger receives changes of interfaces and failures of sockets; nil for none.
	Logger *slog.Logger
	// Metrics counts frames; nil if nobody wants them.
	Metrics *Metrics
	// ExcludeInterfaces are patterns of interface names that carry nothing; nil stands for [netif.DefaultExclude].
	ExcludeInterfaces []*regexp.Regexp
	// Refresh is how often an address is announced again without a cause; 0 stands for 90 s.
	Refresh time.Duration
	// FramesPerSecond bounds the rate of gratuitous frames over all interfaces; 0 stands for 4000.
	FramesPerSecond int
	// Probes is how many probes are sent for a tentative address on each interface before it counts as free; 0 stands
	// for 3.
	Probes int
	// ProbeInterval is the time between two of them, and after the last; 0 stands for 150 ms.
	ProbeInterval time.Duration
	// ConflictMemory is how long a conflict lasts after the last sighting; 0 stands for 5 minutes.
	ConflictMemory time.Duration
	// OnChange is called, without a lock held, when what the interfaces can carry has changed: several changes may cause one call. It
	// may be nil.
	OnChange func()
	// OnNews is called in the same way when [Announcer.Free] of an address has changed, and when a conflict began or ended. It may be
	// nil.
	OnNews func()
	// OnPeer is called, without a lock held, when a peer claims an address that this node holds: they don't agree who
	// holds it. For one address it is called five times a second at most. It must not wait. It may be nil.
	OnPeer func(addr netip.Addr, node string)
	// OnAnnounced is called when an address was announced on an interface for the first time since it is held there. It must not
	// wait. It may be nil.
	OnAnnounced func(addr netip.Addr)
	// Alive says whether what was set may still be answered and announced; it is asked for each frame. Nil for always.
	Alive func() bool
}

// link is an eligible interface with its responder.
type link struct {
	netif.Interface
	responder answerer
	caller    caller
}

// answerer is what an Announcer needs of a [responder.Responder].
type answerer interface {
	Set(map[netip.Addr]responder.Entry)
	Announce(netip.Addr) (int, error)
	Probe(netip.Addr) (int, error)
	Err() error
	Close()
}

// Announcer makes this node answer for a set of addresses. Its methods may be called from any goroutine.
type Announcer struct {
	cfg    Config
	herald *herald
	watch  func(context.Context) error // calls setInterfaces
	open   func(responder.Config) answerer
	call   func(responder.Interface) caller
	// neighbours returns the hosts on the link of the interface of an index: [netif.Neighbours].
	neighbours func(index int) ([]netif.Neighbour, error)
	changed    chan struct{} // holds one element if OnChange is to be called
	newly      chan struct{} // holds one element if OnNews is to be called
	state      chan struct{} // holds one element if a responder's state changed
	heard      chan heard    // what responders have seen
	begun      chan struct{} // holds one element if a conflict began

	mu       sync.Mutex
	running  bool
	desired  map[netip.Addr]Announcement
	counters map[netip.Addr]*counter
	snapshot *netif.Snapshot      // nil before the first scan
	links    map[int]*link        // by interface index
	failed   map[int]string       // links whose responder doesn't work, and why
	placed   map[netip.Addr][]int // the indexes of the interfaces that carry each address
	carried  map[pair]bool        // what is announced, if the responder works
	guard    *guard
}

// counter counts the frames of a desired address.
type counter struct {
	responder.Counter
	foreign atomic.Uint64 // sightings of foreign hosts
}

// New returns an Announcer that does nothing until it runs.
func New(cfg Config) *Announcer {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(prometheus.NewRegistry())
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func() {}
	}
	if cfg.OnNews == nil {
		cfg.OnNews = func() {}
	}
	if cfg.OnPeer == nil {
		cfg.OnPeer = func(netip.Addr, string) {}
	}
	if cfg.OnAnnounced == nil {
		cfg.OnAnnounced = func(netip.Addr) {}
	}
	a := &Announcer{
		cfg:      cfg,
		changed:  make(chan struct{}, 1),
		newly:    make(chan struct{}, 1),
		state:    make(chan struct{}, 1),
		heard:    make(chan heard, maxHeard),
		begun:    make(chan struct{}, 1),
		counters: make(map[netip.Addr]*counter),
		links:    make(map[int]*link),
		failed:   make(map[int]string),
		carried:  make(map[pair]bool),
		guard:    newGuard(cfg.ConflictMemory, cfg.Probes),
	}
	a.herald = newHerald(newSchedule(cfg, rand.Float64), a.do)
	a.watch = netif.New(netif.Config{
		Logger: cfg.Logger, Exclude: cfg.ExcludeInterfaces, OnChange: a.setInterfaces,
	}).Run
	a.open = func(cfg responder.Config) answerer { return responder.Open(cfg) }
	a.neighbours = netif.Neighbours
	a.call = func(i responder.Interface) caller { return responder.OpenCaller(i) }
	return a
}

// Run watches the interfaces and answers until ctx is done. Then it stops answering and returns nil.
func (a *Announcer) Run(ctx context.Context) error {
	a.mu.Lock()
	a.running = true
	a.mu.Unlock()
	defer a.shutdown()
	var group errgroup.Group
	group.Go(func() error { return a.watch(ctx) })
	group.Go(func() error { a.herald.run(ctx); return nil })
	group.Go(func() error { a.follow(ctx); return nil })
	group.Go(func() error { a.listen(ctx); return nil })
	return group.Wait()
}

// follow looks after responders whose state changed, and tells the owner about changes.
func (a *Announcer) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.state:
			a.checkResponders()
		case <-a.changed:
			a.cfg.OnChange()
		case <-a.newly:
			a.cfg.OnNews()
		}
	}
}

// shutdown stops all answers.
func (a *Announcer) shutdown() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running = false
	a.snapshot = nil
	a.reconcile(nil)
}

// Set replaces the desired state; it may be called at any time, also before Run, and repeating it changes nothing. When
// it returns, addresses that are gone are not answered any more, and new ones are, where an interface can carry them and
// unless they are tentative; their gratuitous frames or their probes follow at once.
func (a *Announcer) Set(desired map[netip.Addr]Announcement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.desired = make(map[netip.Addr]Announcement, len(desired))
	counters := make(map[netip.Addr]*counter, len(desired))
	for addr, announcement := range desired {
		addr = addr.Unmap().WithZone("")
		announcement.Interfaces = slices.Clone(announcement.Interfaces)
		a.desired[addr] = announcement
		counters[addr] = a.counters[addr]
		if counters[addr] == nil {
			counters[addr] = new(counter)
		}
	}
	a.counters = counters
	a.cfg.Metrics.setAddresses(counters)
	a.reconcile(nil)
}

// Reannounce starts the gratuitous schedule of addrs over again, as far as they are desired and carried.
func (a *Announcer) Reannounce(addrs ...netip.Addr) {
	again := make(map[netip.Addr]bool, len(addrs))
	for _, addr := range addrs {
		again[addr.Unmap()] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var start []pair
	for p := range a.carried {
		if again[p.addr] {
			start = append(start, p)
		}
	}
	a.herald.update(nil, start)
}

// Defend announces addr once on each interface that carries it: a peer has announced what this node holds. That is done at RFC
// 5227's rate, and no conflict.
func (a *Announcer) Defend(addr netip.Addr) {
	addr = addr.Unmap()
	a.mu.Lock()
	defer a.mu.Unlock()
	for p := range a.carried {
		if p.addr == addr && a.guard.mayDefend(p, time.Now()) {
			a.herald.defend(p)
		}
	}
}

// CanCarry reports whether an interface of this node can carry addr now, and if not, why.
func (a *Announcer) CanCarry(addr netip.Addr, announcement Announcement) (bool, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	working, reason := a.answering(addr.Unmap(), announcement)
	return len(working) > 0, reason
}

// Carriers returns the names of the interfaces of this node that can carry addr now, or why there are none.
func (a *Announcer) Carriers(addr netip.Addr, announcement Announcement) (names []string, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answering(addr.Unmap(), announcement)
}

// answering returns the names of the interfaces that can carry addr and whose responders work, or the reason why there
// are none. The caller holds a.mu.
func (a *Announcer) answering(addr netip.Addr, announcement Announcement) (working []string, reason string) {
	carriers, reason := a.carriers(addr, announcement)
	var failures []string
	for _, i := range carriers {
		if failure, bad := a.failed[i.Index]; bad {
			failures = append(failures, fmt.Sprintf("interface %s: %s", i.Name, failure))
		} else {
			working = append(working, i.Name)
		}
	}
	if len(working) == 0 && len(failures) > 0 {
		reason = strings.Join(failures, "; ")
	}
	return working, reason
}

// Ready reports whether the interfaces have been read and the sockets on eligible ones are open. One interface whose
// sockets don't open does not make a node with others unready; [Announcer.CanCarry] knows about it.
func (a *Announcer) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.snapshot != nil && (len(a.failed) == 0 || len(a.failed) < len(a.links))
}

// State returns a copy of what the Announcer knows and does.
func (a *Announcer) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := State{Interfaces: []InterfaceState{}, Addresses: []AddressState{}}
	for _, i := range a.snapshot.Interfaces() {
		i.Prefixes = slices.Clone(i.Prefixes)
		s.Interfaces = append(s.Interfaces, InterfaceState{Interface: i, Error: a.failed[i.Index]})
	}
	for _, addr := range slices.SortedFunc(maps.Keys(a.desired), netip.Addr.Compare) {
		c := a.counters[addr]
		state := AddressState{
			Address: addr, Requests: c.Requests.Load(), Answers: c.Answers.Load(), Announcements: c.Announcements.Load(),
			Tentative: a.desired[addr].Tentative, Free: a.guard.free(addr), Quiet: a.desired[addr].Quiet,
		}
		state.Interfaces, state.Reason = a.answering(addr, a.desired[addr])
		s.Addresses = append(s.Addresses, state)
	}
	s.Conflicts = a.guard.conflicts()
	return s
}

// carriers is [netif.Snapshot.Carriers]. The caller holds a.mu.
func (a *Announcer) carriers(addr netip.Addr, announcement Announcement) ([]netif.Interface, string) {
	return a.snapshot.Carriers(addr, announcement.Interfaces)
}

// setInterfaces takes over a new snapshot.
func (a *Announcer) setInterfaces(snapshot *netif.Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.running {
		return
	}
	a.snapshot = snapshot
	a.reconcile(a.setLinks())
	a.know(ownMACs(snapshot), a.guard.peers)
	notify(a.changed)
}

// ownMACs returns the MACs of all interfaces of this node.
func ownMACs(snapshot *netif.Snapshot) map[MAC]bool {
	own := make(map[MAC]bool)
	for _, i := range snapshot.Interfaces() {
		own[i.MAC] = true
	}
	return own
}

// setLinks opens and closes responders as the snapshot demands, and returns the indexes of interfaces whose neighbours
// have to be told anew.
func (a *Announcer) setLinks() map[int]bool {
	fresh := make(map[int]bool)
	eligible := make(map[int]bool)
	for _, i := range a.snapshot.Interfaces() {
		if !i.Eligible() {
			continue
		}
		eligible[i.Index] = true
		old := a.links[i.Index]
		switch {
		case old == nil || old.MAC != i.MAC || old.Name != i.Name:
			a.closeLink(i.Index)
			a.openLink(i)
			fresh[i.Index] = true
		case old.Epoch != i.Epoch:
			fresh[i.Index] = true
		}
		a.links[i.Index].Interface = i
	}
	for index := range a.links {
		if !eligible[index] {
			a.closeLink(index)
		}
	}
	a.cfg.Metrics.setInterfaces(len(eligible))
	return fresh
}

func (a *Announcer) openLink(i netif.Interface) {
	ifi := responder.Interface{Index: i.Index, Name: i.Name, MAC: i.MAC}
	r := a.open(responder.Config{
		Interface: ifi,
		Logger:    a.cfg.Logger,
		Stats:     &a.cfg.Metrics.stats,
		OnState:   func() { notify(a.state) },
		Alive:     a.cfg.Alive,

		OnSighting: a.sighted(i.Index, i.Name),
	})
	a.links[i.Index] = &link{Interface: i, responder: r, caller: a.call(ifi)}
	a.cfg.Logger.Info("interface carries announcements", "interface", i.Name, "mac", i.MAC)
}

func (a *Announcer) closeLink(index int) {
	l := a.links[index]
	if l == nil {
		return
	}
	l.responder.Close()
	l.caller.Close()
	delete(a.links, index)
	a.cfg.Logger.Info("interface carries no announcements any more", "interface", l.Name)
}

// reconcile gives every responder its set and brings the schedule in line. Pairs on the interfaces in fresh are announced
// as if they were new. The caller holds a.mu.
func (a *Announcer) reconcile(fresh map[int]bool) {
	if a.snapshot == nil {
		for index := range a.links {
			a.closeLink(index)
		}
	}
	sets := make(map[int]map[netip.Addr]responder.Entry)
	carried := make(map[pair]bool)
	a.placed = make(map[netip.Addr][]int)
	for addr, announcement := range a.desired {
		carriers, _ := a.carriers(addr, announcement)
		for _, i := range carriers {
			if sets[i.Index] == nil {
				sets[i.Index] = make(map[netip.Addr]responder.Entry)
			}
			sets[i.Index][addr] = responder.Entry{
				Counter: &a.counters[addr].Counter, Tentative: announcement.Tentative,
			}
			a.placed[addr] = append(a.placed[addr], i.Index)
			if !announcement.Tentative && !announcement.Quiet {
				carried[pair{addr, i.Index}] = true
			}
		}
	}
	for index, l := range a.links {
		l.responder.Set(sets[index])
	}
	a.noteFailures()
	stop, begin := a.guard.set(a.posts(), fresh, time.Now())
	a.reschedule(stop, carried, fresh)
	a.herald.probe(begin)
	a.cfg.Metrics.setConflicts(len(a.guard.conflicts()))
}

// posts returns where each desired address is held or watched: on those of its carriers whose responders work.
func (a *Announcer) posts() map[netip.Addr]post {
	posts := make(map[netip.Addr]post, len(a.desired))
	for addr, announcement := range a.desired {
		p := post{tentative: announcement.Tentative}
		for _, index := range a.placed[addr] {
			if _, bad := a.failed[index]; !bad {
				p.carriers = append(p.carriers, index)
			}
		}
		posts[addr] = p
	}
	return posts
}

// reschedule brings the schedule in line with what is carried now, and stops what is in stop.
func (a *Announcer) reschedule(stop []pair, carried map[pair]bool, fresh map[int]bool) {
	var start []pair
	for p := range a.carried {
		if !carried[p] {
			stop = append(stop, p)
		}
	}
	for p := range carried {
		if !a.carried[p] || fresh[p.index] {
			start = append(start, p)
		}
	}
	a.carried = carried
	a.herald.update(stop, start)
}

// noteFailures asks each responder whether it works, and returns the indexes of those that work again.
func (a *Announcer) noteFailures() map[int]bool {
	failed, recovered := make(map[int]string), make(map[int]bool)
	for index, l := range a.links {
		if err := l.responder.Err(); err != nil {
			failed[index] = err.Error()
		} else if _, was := a.failed[index]; was {
			recovered[index] = true
		}
	}
	if !maps.Equal(failed, a.failed) {
		a.failed = failed
		notify(a.changed)
	}
	return recovered
}

// checkResponders follows up on a responder that failed or works again.
func (a *Announcer) checkResponders() {
	a.mu.Lock()
	defer a.mu.Unlock()
	recovered := a.noteFailures()
	var start []pair
	for p := range a.carried {
		if recovered[p.index] {
			start = append(start, p)
		}
	}
	stop, begin := a.guard.set(a.posts(), nil, time.Now())
	a.herald.update(stop, start)
	a.herald.probe(begin)
}

// do carries out a task; the herald calls it.
func (a *Announcer) do(t task) int {
	switch t.kind {
	case taskProbe:
		return a.probe(t)
	case taskListened:
		a.listened(t)
		return 0
	}
	n := a.announce(t.pair)
	if t.first && n > 0 {
		a.cfg.OnAnnounced(t.addr)
	}
	return n
}

// announce sends the gratuitous frames of a pair.
func (a *Announcer) announce(p pair) int {
	a.mu.Lock()
	l := a.links[p.index]
	a.mu.Unlock()
	if l == nil {
		return 0
	}
	n, err := l.responder.Announce(p.addr)
	if err != nil {
		a.cfg.Logger.Debug("announcing failed", "ip", p.addr, "error", err)
	}
	return n
}

// notify puts an element into a channel that holds one, unless there is one.
func notify(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
