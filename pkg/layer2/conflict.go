package layer2

import (
	"context"
	"maps"
	"net/netip"
	"time"

	"github.com/invar-lb/invar/pkg/netif"
	"github.com/invar-lb/invar/pkg/responder"
)

// maxHeard is how many sightings may wait. It is some times what the LAN can say while the lock is held for a change of a
// thousand addresses.
const maxHeard = 1024

// Conflict says that a host that is neither this node nor a peer has an address too.
type Conflict struct {
	// Address is the address.
	Address netip.Addr `json:"address"`
	// MAC is who has it: the latest, if there are several.
	MAC MAC `json:"mac"`
	// Interface is the name of the interface where it was seen last.
	Interface string `json:"interface"`
	// Since is when it was seen first, Last when it was seen last, and Count how often.
	Since time.Time `json:"since"`
	Last  time.Time `json:"last"`
	Count uint64    `json:"count"`
}

// MAC is an Ethernet address.
type MAC = netif.MAC

// SetPeers replaces what is known of the peers' MACs, each with the name of its node; it may be called at any time. A
// peer that has an address is no conflict: [Config.OnPeer] hears of it.
func (a *Announcer) SetPeers(macs map[MAC]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if maps.Equal(macs, a.guard.peers) {
		return
	}
	a.know(a.guard.own, maps.Clone(macs))
}

// SetHurry says whether those who have a tentative address are about to give it up; it may be called at any time. Then it is probed
// for again each 250 ms, or if it is one of more than 250 addresses, each millisecond for each of them, instead of after ten seconds
// and more.
func (a *Announcer) SetHurry(hurry bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.herald.probe(a.guard.hasten(hurry, time.Now()))
}

// know tells the guard who is not foreign. The caller holds a.mu.
func (a *Announcer) know(own map[MAC]bool, peers map[MAC]string) {
	begin, changed := a.guard.know(own, peers, time.Now())
	a.herald.probe(begin)
	a.news(changed)
}

// Free reports whether addr is tentative and nobody on the LAN has it: a whole round of probes stayed unanswered on each
// interface that would carry it, not longer ago than ten seconds and the time of another round, and nobody claimed it
// since. Config.OnNews is called when it becomes free and when it is free no more.
func (a *Announcer) Free(addr netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.guard.free(addr.Unmap())
}

// Conflicts returns all conflicts, sorted by address, one for each address. That of a held address ends when nothing was
// seen for Config.ConflictMemory, that of a tentative one when probing shows that it is free; both when the address is
// desired no more. Config.OnNews is called when a conflict begins and when it ends.
func (a *Announcer) Conflicts() []Conflict {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.guard.conflicts()
}

// news tells the owner that a conflict or a free address came or went. The caller holds a.mu.
func (a *Announcer) news(changed bool) {
	if !changed {
		return
	}
	a.cfg.Metrics.setConflicts(len(a.guard.conflicts()))
	notify(a.newly)
}

// sighted returns what a responder calls when somebody else has an address. It does not wait.
func (a *Announcer) sighted(index int, name string) func(responder.Sighting) {
	return func(s responder.Sighting) {
		select {
		case a.heard <- heard{index, name, s}:
		default:
			a.cfg.Metrics.lost.Add(1)
		}
	}
}

// listen takes in sightings until ctx is done, and forgets old conflicts.
func (a *Announcer) listen(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-a.heard:
			a.hear(h)
			continue
		case <-a.begun:
		case <-timer.C:
		}
		if wait := a.expire(); wait > 0 {
			timer.Reset(wait)
		}
	}
}

// hear takes in a sighting.
func (a *Announcer) hear(h heard) {
	a.mu.Lock()
	r := a.guard.hear(h, time.Now())
	if r.foreign {
		if c := a.counters[h.Addr]; c != nil {
			c.foreign.Add(1)
		}
	}
	if r.changed {
		notify(a.begun)
		a.cfg.Logger.Warn("another host has an address", "ip", h.Addr, "mac", MAC(h.MAC), "interface", h.name)
	}
	if r.defend && a.carried[pair{h.Addr, h.index}] {
		a.cfg.Metrics.defences.Add(1)
		a.herald.defend(pair{h.Addr, h.index})
	}
	a.herald.probe(r.next)
	a.news(r.changed)
	a.mu.Unlock()
	if r.peer != "" {
		a.cfg.OnPeer(h.Addr, r.peer)
	}
}

// catchUp takes in the sightings that wait now, but not what a busy LAN adds meanwhile.
func (a *Announcer) catchUp() {
	for range maxHeard {
		select {
		case h := <-a.heard:
			a.hear(h)
		default:
			return
		}
	}
}

// expire forgets old conflicts. It returns after how long there may be more to forget, or 0.
func (a *Announcer) expire() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait, changed := a.guard.expire(time.Now())
	a.news(changed)
	return wait
}

// probe sends a probe of a round; the herald calls it.
func (a *Announcer) probe(t task) int {
	a.mu.Lock()
	l := a.links[t.index]
	wanted := a.guard.probing(t.pair, t.round, a.cfg.Metrics.lost.Load())
	a.mu.Unlock()
	if l == nil || !wanted {
		return 0
	}
	n, err := l.responder.Probe(t.addr)
	if err != nil {
		a.cfg.Logger.Debug("probing failed", "ip", t.addr, "error", err)
	}
	if n > 0 {
		a.mu.Lock()
		a.guard.sent(t.pair, t.round)
		a.mu.Unlock()
	}
	return n
}

// listened ends a round on an interface; the herald calls it. What waits to be heard counts.
func (a *Announcer) listened(t task) {
	a.catchUp()
	a.mu.Lock()
	defer a.mu.Unlock()
	next, changed := a.guard.listened(t.pair, t.round, a.cfg.Metrics.lost.Load(), time.Now())
	a.herald.probe(next)
	a.news(changed)
}
