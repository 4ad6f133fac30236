package speaker

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

const (
	// bystandersEvery is how often bystanders are asked for a sign of life, bystandersList how often they are listed anew.
	bystandersEvery = 250 * time.Millisecond
	bystandersList  = 2 * time.Second
	// bystandersWait is for how long an answer shows that this node hears the LAN.
	bystandersWait = 10 * time.Second
)

// side is how this node serves its side of a LAN that has fallen apart, as the log says it.
type side string

const (
	sideNone  side = "" // the LAN is whole
	sideQuiet side = "no peer in sight; answering for its addresses, and announcing once other hosts are heard"
	sideLone  side = "no peer in sight; answering for its addresses and announcing them"
)

// bystanders are hosts of the LAN that are no peers. Whether one of them is heard tells a node that is alone from one that is deaf.
type bystanders struct {
	hosts                []netip.Addr
	listed, asked, heard time.Time
}

// attend lists the hosts to ask, if it is time.
func (b *bystanders) attend(now time.Time, list func() []netip.Addr) {
	if now.Sub(b.listed) < bystandersList {
		return
	}
	b.listed = now
	b.hosts = list()
}

// tick asks the hosts, if it is time.
func (b *bystanders) tick(now time.Time, wire wire) {
	if len(b.hosts) == 0 || now.Sub(b.asked) < bystandersEvery {
		return
	}
	b.asked = now
	for _, h := range b.hosts {
		_ = wire.Ask(h) // another one may do
	}
}

// note notes an answer of a host.
func (b *bystanders) note(addr netip.Addr, now time.Time) {
	if slices.ContainsFunc(b.hosts, func(h netip.Addr) bool { return h.WithZone("") == addr }) {
		b.heard = now
	}
}

// attendBystanders begins to ask bystanders, or goes on with it, or ends it.
func (w *watch) attendBystanders(needed bool, now time.Time, list func() []netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if needed {
		w.bystanders.attend(now, list)
	} else {
		w.bystanders = bystanders{}
	}
}

// hearsBystanders reports whether one has answered of late.
func (w *watch) hearsBystanders(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return now.Sub(w.bystanders.heard) < bystandersWait
}

// hearsBystanders reports whether this node hears hosts that are no peers: they answer, or have asked for one of the addresses that it
// answers for without a claim.
func (s *Speaker) hearsBystanders() bool {
	return s.watch.hearsBystanders(time.Now()) || s.announcer.Asked(slices.Collect(maps.Keys(s.unclaimed)))
}

// noteUnclaimed takes in what this node answers for without a claim, and looks again whether it hears bystanders.
func (s *Speaker) noteUnclaimed(d election.Decision) {
	for _, addr := range d.Hold {
		delete(s.unclaimed, addr)
	}
	for _, addr := range slices.Concat(d.Lone, d.Quiet) {
		s.unclaimed[addr] = true
	}
	side := sideNone
	switch {
	case len(d.Quiet) > 0:
		side = sideQuiet
		s.again = earlier(s.again, time.Now().Add(bystandersEvery))
	case len(d.Lone) > 0:
		side = sideLone
		s.again = earlier(s.again, time.Now().Add(bystandersWait))
	}
	if side != s.side && side != sideNone {
		s.cfg.Logger.Warn(string(side))
	}
	s.side = side
}

// renounce has those announce once more that hold what this node has answered for without a claim.
func (s *Speaker) renounce() {
	if len(s.unclaimed) > 0 {
		s.members.Renounce(slices.SortedFunc(maps.Keys(s.unclaimed), netip.Addr.Compare))
		clear(s.unclaimed)
	}
}
