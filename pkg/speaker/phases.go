package speaker

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

// twiceForgotten is how long after the last sign of a second holder an address counts as having one again.
const twiceForgotten = time.Second

// phases measures what a failover's last phase takes, and for how long two nodes answered for an address. Its methods may be
// called from any goroutine.
type phases struct {
	mu sync.Mutex
	// taken has, for the addresses of dead nodes that this node has claimed and not announced yet, when the node fell silent.
	taken map[netip.Addr]time.Time
	twice map[netip.Addr]twice
}

// twice is when a peer was seen to announce an address that this node holds.
type twice struct{ first, last time.Time }

func newPhases() *phases {
	return &phases{taken: map[netip.Addr]time.Time{}, twice: map[netip.Addr]twice{}}
}

// take notes what is about to be announced. since returns when a node fell silent, zero if it did not; held says what this node
// holds now. A thousand addresses take half a second to announce, in which this node looks at everything more than once.
func (p *phases) take(moves []election.Move, since func(node string) time.Time, held func(netip.Addr) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range moves {
		if at := since(m.From); m.Cause == election.CauseFailure && !at.IsZero() {
			p.taken[m.Addr] = at
		}
	}
	maps.DeleteFunc(p.taken, func(addr netip.Addr, _ time.Time) bool { return !held(addr) })
}

// announced returns how long ago the former holder of addr fell silent, if this is the first frame since.
func (p *phases) announced(addr netip.Addr, now time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since, ok := p.taken[addr]
	delete(p.taken, addr)
	return now.Sub(since), ok
}

// seen notes that a peer announces an address that this node holds.
func (p *phases) seen(addr netip.Addr, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.twice[addr]
	if !ok {
		t.first = now
	}
	t.last = now
	p.twice[addr] = t
}

// ended returns for how long addresses had two holders that have one again: this node has withdrawn, or the peer has not been
// heard of since. next is when to look again, zero if there is no need.
func (p *phases) ended(held func(netip.Addr) bool, now time.Time) (took []time.Duration, next time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, t := range p.twice {
		switch until := t.last.Add(twiceForgotten); {
		case !now.Before(until): // also if this node has withdrawn since
			took = append(took, t.last.Sub(t.first))
		case !held(addr):
			took = append(took, now.Sub(t.first))
		default:
			next = earlier(next, until)
			continue
		}
		delete(p.twice, addr)
	}
	return took, next
}

// onAnnounced hears that an address was announced for the first time since this node took it.
func (s *Speaker) onAnnounced(addr netip.Addr) {
	if took, ok := s.phases.announced(addr, time.Now()); ok {
		s.cfg.Metrics.failover.WithLabelValues("first_frame").Observe(took.Seconds())
	}
}

// noteDuplicates counts for how long addresses had two holders.
func (s *Speaker) noteDuplicates(held func(netip.Addr) bool) {
	took, next := s.phases.ended(held, time.Now())
	for _, d := range took {
		s.cfg.Metrics.duplicates.Observe(d.Seconds())
	}
	if !next.IsZero() {
		s.again = earlier(s.again, next)
	}
}
