package layer2

import (
	"cmp"
	"container/heap"
	"net/netip"
	"time"
)

// burst is when a new pair is announced, counted from its start.
var burst = []time.Duration{
	0, 200 * time.Millisecond, 1200 * time.Millisecond, 2300 * time.Millisecond, 3400 * time.Millisecond,
	4500 * time.Millisecond,
}

const (
	// defaultRefresh is below the ageing time of all common switches: 300 s as a rule, 120 s at the shortest.
	defaultRefresh = 90 * time.Second
	// jitter is the part of the refresh interval by which it is shortened at random, so that addresses that moved together
	// don't stay in step.
	jitter = 0.2
	// together is how far apart the times of refreshes are, so that many addresses need not wake the processor one by one.
	together = time.Second
	// defaultRate is how many frames are sent per second. A thousand addresses make 2000 frames: half a second.
	defaultRate = 4000
	// credit is how much time without frames may be caught up: timers don't fire more often than that.
	credit = 25 * time.Millisecond
	// defaultProbes and defaultProbeInterval make a round of probes take 450 ms. RFC 5227's PROBE_NUM is the same, its
	// PROBE_MIN a second; who has the address answers within milliseconds, and a new Service waits for this.
	defaultProbes        = 3
	defaultProbeInterval = 150 * time.Millisecond
)

// pair is an address on an interface.
type pair struct {
	addr  netip.Addr
	index int
}

// task is what is to be done about a pair.
type task struct {
	pair
	kind  taskKind
	round uint64 // of probes
	first bool   // of a pair's announcements
}

// taskKind tells what to do.
type taskKind uint8

const (
	taskAnnounce taskKind = iota
	taskProbe
	taskListened // nothing to send: the last probe of the round was some time ago
)

// schedule says which pair is to be announced or probed for next, and when. It has no clock: all methods take the time,
// which must not go back.
type schedule struct {
	refresh  time.Duration
	gap      time.Duration  // between two frames
	probes   int            // in a round
	interval time.Duration  // between two probes of a round, and after the last
	random   func() float64 // in [0,1)

	entries map[pair]*entry
	waiting entryHeap // by time: those that aren't due
	due     entryHeap // by rank: those that are
	free    time.Time // when the next frame may be sent
	origin  time.Time // from which the times of refreshes are counted
}

// entry is the state of a pair.
type entry struct {
	pair
	round  uint64 // of probes; 0: the pair is announced
	start  time.Time
	step   int       // how many times announced since start, or probed for
	at     time.Time // what is to be done next
	once   bool      // next is an announcement out of turn
	resume time.Time // what at was before that
	heap   *entryHeap
	place  int // in heap
}

func newSchedule(cfg Config, random func() float64) *schedule {
	s := &schedule{
		refresh:  cmp.Or(cfg.Refresh, defaultRefresh),
		gap:      time.Second / time.Duration(cmp.Or(cfg.FramesPerSecond, defaultRate)),
		probes:   cmp.Or(cfg.Probes, defaultProbes),
		interval: cmp.Or(cfg.ProbeInterval, defaultProbeInterval),
		random:   random,
		entries:  make(map[pair]*entry),
	}
	s.waiting.less = func(a, b *entry) bool { return a.compare(b) < 0 }
	s.due.less = func(a, b *entry) bool { return cmp.Or(cmp.Compare(a.rank(), b.rank()), a.compare(b)) < 0 }
	return s
}

// rank orders what is due: first announcements and defences, then probes, then repetitions by their number.
func (e *entry) rank() int {
	switch {
	case e.once:
		return 0
	case e.round != 0:
		return 1
	case e.step > 0:
		return 1 + e.step
	}
	return 0
}

// compare orders entries by time, and those of one time by address and interface, so that the order is always the same.
func (e *entry) compare(o *entry) int {
	return cmp.Or(e.at.Compare(o.at), e.addr.Compare(o.addr), cmp.Compare(e.index, o.index))
}

// start begins with the first announcement of p, also if p is scheduled already.
func (s *schedule) start(p pair, now time.Time) {
	s.stop(p)
	e := &entry{pair: p, start: now, at: now.Add(burst[0])}
	s.entries[p] = e
	s.put(e, &s.waiting)
}

// probe plans a round of probes for p, and takes the place of whatever was planned for it.
func (s *schedule) probe(p pair, at time.Time, round uint64) {
	s.stop(p)
	e := &entry{pair: p, round: round, at: at}
	s.entries[p] = e
	s.put(e, &s.waiting)
}

// once announces p at once, if it is announced at all, and leaves its other times as they are.
func (s *schedule) once(p pair, now time.Time) {
	e := s.entries[p]
	if e == nil || e.round != 0 || e.once || e.step == 0 {
		return
	}
	heap.Remove(e.heap, e.place)
	e.once, e.resume, e.at = true, e.at, now
	s.put(e, &s.waiting)
}

// stop forgets p.
func (s *schedule) stop(p pair) {
	if e := s.entries[p]; e != nil {
		heap.Remove(e.heap, e.place)
		delete(s.entries, p)
	}
}

// next returns what to do now, and takes it that this is done. If there is nothing to do it returns false, and after how
// long to ask again; zero means never, until something is planned.
func (s *schedule) next(now time.Time) (t task, ok bool, wait time.Duration) {
	for len(s.waiting.entries) > 0 && !s.waiting.entries[0].at.After(now) {
		s.put(heap.Pop(&s.waiting).(*entry), &s.due)
	}
	switch {
	case len(s.due.entries) == 0 && len(s.waiting.entries) == 0:
		return task{}, false, 0
	case len(s.due.entries) == 0:
		return task{}, false, s.waiting.entries[0].at.Sub(now)
	case s.free.After(now):
		return task{}, false, s.free.Sub(now)
	}
	e := heap.Pop(&s.due).(*entry)
	t = task{pair: e.pair, round: e.round, first: e.round == 0 && e.step == 0}
	switch {
	case e.round == 0:
		s.advance(e, now)
	case e.step < s.probes:
		t.kind = taskProbe
		e.step++
		e.at = now.Add(s.interval)
	default:
		t.kind = taskListened
		delete(s.entries, e.pair)
		return t, true, 0
	}
	s.put(e, &s.waiting)
	return t, true, 0
}

// advance sets the time of e's next announcement. One that was held up by the pacing moves the following ones: what
// matters is the distance between two.
func (s *schedule) advance(e *entry, now time.Time) {
	if e.once {
		e.once, e.at = false, e.resume
		return
	}
	late := now.Sub(e.at)
	e.step++
	if e.step < len(burst) {
		e.start = e.start.Add(late)
		e.at = e.start.Add(burst[e.step])
		return
	}
	if s.origin.IsZero() {
		s.origin = now
	}
	at := now.Add(s.refresh - time.Duration(s.random()*jitter*float64(s.refresh))).Sub(s.origin)
	e.at = s.origin.Add(max(at.Truncate(together), now.Sub(s.origin)))
}

// sent accounts for frames that were sent at the time of the last call of next.
func (s *schedule) sent(frames int, now time.Time) {
	if earliest := now.Add(-credit); s.free.Before(earliest) {
		s.free = earliest
	}
	s.free = s.free.Add(time.Duration(frames) * s.gap)
}

func (s *schedule) put(e *entry, h *entryHeap) {
	e.heap = h
	heap.Push(h, e)
}

// entryHeap implements [heap.Interface] over entries that know their place.
type entryHeap struct {
	entries []*entry
	less    func(a, b *entry) bool
}

func (h *entryHeap) Len() int           { return len(h.entries) }
func (h *entryHeap) Less(i, j int) bool { return h.less(h.entries[i], h.entries[j]) }

func (h *entryHeap) Swap(i, j int) {
	h.entries[i], h.entries[j] = h.entries[j], h.entries[i]
	h.entries[i].place, h.entries[j].place = i, j
}

// Push implements [heap.Interface].
func (h *entryHeap) Push(x any) {
	e := x.(*entry)
	e.place = len(h.entries)
	h.entries = append(h.entries, e)
}

// Pop implements [heap.Interface].
func (h *entryHeap) Pop() any {
	last := len(h.entries) - 1
	e := h.entries[last]
	h.entries[last] = nil
	h.entries = h.entries[:last]
	return e
}
