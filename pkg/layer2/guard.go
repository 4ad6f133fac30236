package layer2

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/netif"
	"github.com/invar-lb/invar/pkg/responder"
)

const (
	// defaultMemory is how long a conflict is remembered after the last sighting.
	defaultMemory = 5 * time.Minute
	// retryMin and retryMax bound the pause before an address that somebody else has is probed for again. The longest is
	// RFC 5227's RATE_LIMIT_INTERVAL.
	retryMin = 10 * time.Second
	retryMax = 60 * time.Second
	// retrySoon is that pause in a hurry, and retryEach what it is at least for each address: a thousand that are probed for at once
	// make a thousand frames a second.
	retrySoon = 250 * time.Millisecond
	retryEach = time.Millisecond
	// stale is the age at which a silent round of probes must be repeated: somebody may have come since.
	stale = 10 * time.Second
	// retrySpoiled is the pause after a round that proves nothing: a probe was not sent, or a sighting may have been lost.
	retrySpoiled = time.Second
	// defendInterval is the least time between two defences of an address on an interface: RFC 5227's DEFEND_INTERVAL.
	defendInterval = 10 * time.Second
	// tellInterval is the least time between two calls of OnPeer for an address.
	tellInterval = 200 * time.Millisecond
)

// guard knows what the wire says about the desired addresses: who else has them, and whether a tentative one is free. It
// keeps one entry for each desired address, whatever is said. It has no clock and no lock, and sends nothing: it tells
// what is to be sent.
type guard struct {
	memory  time.Duration
	probes  int // in a round, on each interface
	own     map[netif.MAC]bool
	peers   map[netif.MAC]string
	watches map[netip.Addr]*watch
	rounds  uint64 // how many have been planned
	hurry   bool   // who has a tentative address is about to give it up
}

// watch is the state of one address.
type watch struct {
	post
	conflict *Conflict
	told     time.Time         // when OnPeer was called
	defended map[int]time.Time // by interface

	// The rest is about tentative addresses only.
	free  bool
	round uint64        // the current one, that runs or is to begin; 0: none
	at    time.Time     // when it begins
	open  map[int]int   // the interfaces on which it has not ended, with the number of probes sent
	pause time.Duration // made after the last sighting; 0: there was none
	// spoiled: the round proves nothing. lost is how many sightings had been lost when it began.
	spoiled bool
	lost    uint64
}

// post says where an address is watched.
type post struct {
	tentative bool
	carriers  []int // indexes of interfaces, sorted
}

// round is one series of probes for an address, on all its carriers.
type round struct {
	number   uint64
	addr     netip.Addr
	carriers []int
	at       time.Time
}

func (r round) pairs() []pair {
	var out []pair
	for _, index := range r.carriers {
		out = append(out, pair{r.addr, index})
	}
	return out
}

func newGuard(memory time.Duration, probes int) *guard {
	return &guard{
		memory: cmp.Or(memory, defaultMemory), probes: cmp.Or(probes, defaultProbes),
		watches: make(map[netip.Addr]*watch),
	}
}

// set replaces the addresses. It returns the pairs that are not probed for any more, and the rounds that are to begin:
// those of addresses that are tentative now or have other carriers. What there is to know of a carrier in fresh is not
// known any more.
func (g *guard) set(posts map[netip.Addr]post, fresh map[int]bool, now time.Time) (stop []pair, begin []round) {
	for addr, w := range g.watches {
		p, desired := posts[addr]
		for _, index := range w.carriers {
			if w.tentative && (!p.tentative || !slices.Contains(p.carriers, index)) {
				stop = append(stop, pair{addr, index})
			}
		}
		if !desired {
			delete(g.watches, addr)
		}
	}
	for addr, p := range posts {
		w := g.watches[addr]
		if w == nil {
			w = new(watch)
			g.watches[addr] = w
		}
		if w.set(p, fresh) {
			begin = append(begin, g.begin(addr, w, w.earliest(now))...)
		}
	}
	return stop, begin
}

// set takes over a post and reports whether to probe anew.
func (w *watch) set(p post, fresh map[int]bool) bool {
	same := w.tentative && slices.Equal(w.carriers, p.carriers) &&
		!slices.ContainsFunc(p.carriers, func(index int) bool { return fresh[index] })
	w.post = p
	if !p.tentative {
		w.free, w.round, w.open, w.pause = false, 0, nil, 0
	}
	if !p.tentative || same {
		return false
	}
	w.free = false
	return true
}

// earliest returns when a new round may begin: at once, unless there is a pause because of a sighting.
func (w *watch) earliest(now time.Time) time.Time {
	if w.pause > 0 && w.at.After(now) {
		return w.at
	}
	return now
}

// begin plans a round, if there are carriers.
func (g *guard) begin(addr netip.Addr, w *watch, at time.Time) []round {
	w.round, w.at, w.spoiled, w.open = 0, at, false, make(map[int]int)
	if len(w.carriers) == 0 {
		return nil
	}
	g.rounds++
	w.round = g.rounds
	for _, index := range w.carriers {
		w.open[index] = 0
	}
	return []round{{w.round, addr, w.carriers, at}}
}

// probing reports whether a probe of a round is still wanted, just before it is sent. lost is the number of sightings
// that have been lost until now.
func (g *guard) probing(p pair, number, lost uint64) bool {
	w := g.watches[p.addr]
	if w == nil || w.round != number {
		return false
	}
	if !slices.ContainsFunc(w.carriers, func(index int) bool { return w.open[index] > 0 }) {
		w.lost = lost
	}
	return true
}

// sent notes that a probe was sent.
func (g *guard) sent(p pair, number uint64) {
	if w := g.watches[p.addr]; w != nil && w.round == number {
		w.open[p.index]++
	}
}

// listened notes that a round has ended on an interface. If it was the last one, and nobody has been seen, the address is
// free. It returns the next round, and whether that is news.
func (g *guard) listened(p pair, number, lost uint64, now time.Time) (next []round, changed bool) {
	w := g.watches[p.addr]
	if w == nil || w.round != number {
		return nil, false
	}
	w.spoiled = w.spoiled || w.open[p.index] < g.probes
	delete(w.open, p.index)
	switch {
	case len(w.open) > 0:
		return nil, false
	case w.spoiled || lost != w.lost:
		changed, w.free = w.free, false
		return g.begin(p.addr, w, now.Add(retrySpoiled)), changed
	}
	changed = !w.free || w.conflict != nil
	w.free, w.conflict, w.pause = true, nil, 0
	return g.begin(p.addr, w, now.Add(stale)), changed
}

// heard is a sighting on an interface.
type heard struct {
	index int
	name  string
	responder.Sighting
}

// response says what is to be done about a sighting.
type response struct {
	foreign bool    // it was neither this node nor a peer
	peer    string  // the peer to be told about, if any
	defend  bool    // announce the address once
	next    []round // the next round of probes, if that is new
	changed bool    // there is news
}

// hear takes in a sighting.
func (g *guard) hear(h heard, now time.Time) response {
	w := g.watches[h.Addr]
	switch {
	case w == nil, !slices.Contains(w.carriers, h.index), g.own[h.MAC]:
		return response{}
	case h.Kind == responder.Probe && !w.tentative:
		return response{} // seen before the address was held; its sender has an answer by now
	}
	if peer, ok := g.peers[h.MAC]; ok {
		if w.tentative || now.Sub(w.told) < tellInterval {
			return response{}
		}
		w.told = now
		return response{peer: peer}
	}
	r := response{foreign: true, changed: w.conflict == nil}
	w.note(h, now)
	if w.tentative {
		r.next = g.giveWay(h.Addr, w, now)
		return r
	}
	r.defend = w.defend(h.index, now)
	return r
}

// note remembers who else has the address.
func (w *watch) note(h heard, now time.Time) {
	if w.conflict == nil {
		w.conflict = &Conflict{Address: h.Addr, Since: now}
	}
	c := w.conflict
	c.MAC, c.Interface, c.Last = h.MAC, h.name, now
	c.Count++
}

// defend reports whether an announcement is due to tell the LAN who has the address.
func (w *watch) defend(index int, now time.Time) bool {
	if last, ok := w.defended[index]; ok && now.Sub(last) < defendInterval {
		return false
	}
	if w.defended == nil {
		w.defended = make(map[int]time.Time)
	}
	w.defended[index] = now
	return true
}

// mayDefend is [watch.defend] of a pair.
func (g *guard) mayDefend(p pair, now time.Time) bool {
	w := g.watches[p.addr]
	return w != nil && w.defend(p.index, now)
}

// giveWay ends the round for a tentative address that somebody else has, and returns the next one. During the pause
// before that, more of the same changes nothing.
func (g *guard) giveWay(addr netip.Addr, w *watch, now time.Time) []round {
	if w.pause > 0 && now.Before(w.at) {
		return nil
	}
	w.free = false
	w.pause = g.after(w.pause)
	return g.begin(addr, w, now.Add(w.pause))
}

// after returns the pause to be made after a sighting, given the one before; 0: there was none.
func (g *guard) after(pause time.Duration) time.Duration {
	if g.hurry {
		return min(max(retrySoon, time.Duration(len(g.watches))*retryEach), retryMin)
	}
	return min(max(2*pause, retryMin), retryMax)
}

// hasten begins or ends the hurry. It returns the rounds that need not wait any longer.
func (g *guard) hasten(hurry bool, now time.Time) (begin []round) {
	if hurry == g.hurry {
		return nil
	}
	g.hurry = hurry
	if !hurry {
		return nil
	}
	for addr, w := range g.watches {
		if w.tentative && w.pause > 0 && w.at.After(now) {
			w.pause = g.after(w.pause)
			begin = append(begin, g.begin(addr, w, now)...)
		}
	}
	return begin
}

// know replaces the MACs that are not foreign. Conflicts with them end. It returns the rounds that begin because of that,
// and whether there is news.
func (g *guard) know(own map[netif.MAC]bool, peers map[netif.MAC]string, now time.Time) (begin []round, changed bool) {
	g.own, g.peers = own, peers
	for addr, w := range g.watches {
		if w.conflict == nil {
			continue
		}
		if _, peer := peers[w.conflict.MAC]; !peer && !own[w.conflict.MAC] {
			continue
		}
		w.conflict, changed = nil, true
		if w.tentative {
			w.pause = 0
			begin = append(begin, g.begin(addr, w, now)...)
		}
	}
	return begin, changed
}

// expire forgets conflicts that have been quiet for long. It returns after how long to call it again, 0 if there are no
// conflicts, and whether there is news. Those of tentative addresses end when a round stays silent.
func (g *guard) expire(now time.Time) (wait time.Duration, changed bool) {
	for _, w := range g.watches {
		if w.conflict == nil {
			continue
		}
		left := w.conflict.Last.Add(g.memory).Sub(now)
		switch {
		case w.tentative && len(w.carriers) > 0:
			left = g.memory
		case left <= 0:
			w.conflict, changed = nil, true
			continue
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return wait, changed
}

// free reports whether addr is tentative and nobody has it.
func (g *guard) free(addr netip.Addr) bool {
	w := g.watches[addr]
	return w != nil && w.free
}

// conflicts returns all conflicts, sorted by address.
func (g *guard) conflicts() []Conflict {
	var out []Conflict
	for _, w := range g.watches {
		if w.conflict != nil {
			out = append(out, *w.conflict)
		}
	}
	slices.SortFunc(out, func(a, b Conflict) int { return a.Address.Compare(b.Address) })
	return out
}
