package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

const (
	// lapse is for how long one who answers may be silent, and nobody calls it an outage: much longer than the pause between two
	// questions, and shorter than any failover that matters.
	lapse = 250 * time.Millisecond
	// noticeable is the shortest silence that counts for the figures: a question may get lost, and answers come in a burst.
	noticeable = 3 * askInterval
	// jolt is the shortest pause of the machine that may make a node look dead: less than a speaker's patience on the wire.
	jolt = 60 * time.Millisecond
	// aftermath is for how long such a pause may have consequences.
	aftermath = 5 * time.Second
	// straddle is how close to a move a connection may be reset, because its packets went to both nodes.
	straddle = time.Second
)

// Violation is a broken promise.
type Violation struct {
	interval
	What   string
	Faults []string // in force then, or a little before
}

func (v Violation) String() string {
	faults := "no fault in force"
	if len(v.Faults) > 0 {
		faults = strings.Join(v.Faults, "; ")
	}
	return fmt.Sprintf("%.3f-%.3f s: %s (%s)", v.from.Seconds(), v.to.Seconds(), v.What, faults)
}

// Verdict is what the checker says of a history.
type Verdict struct {
	Violations []Violation
	// WorstGap and WorstDuplicate are the longest times that were seen, allowed or not, in which nobody answered for an address
	// that somebody should, and in which two did.
	WorstGap, WorstDuplicate time.Duration
	// Gaps and Duplicates are the same for each kind of fault that allowed them; "" is none.
	Gaps, Duplicates map[string]time.Duration
	Noise            time.Duration // for how long the machine paused, all pauses together
}

// Check holds a history against the promises.
func Check(h *History) Verdict {
	c := &checker{History: h, windows: windowsOf(h)}
	c.verdict.Gaps, c.verdict.Duplicates = map[string]time.Duration{}, map[string]time.Duration{}
	c.noise = c.findNoise()
	c.bare = c.findBare() // once, as there are millions of answers
	c.checkReady()
	c.checkServices()
	c.checkFrames()
	c.checkAttempts()
	c.verdict.Noise = c.lost(interval{0, c.End})
	slices.SortStableFunc(c.verdict.Violations, func(a, b Violation) int { return cmp.Compare(a.from, b.from) })
	return c.verdict
}

type checker struct {
	*History
	windows []window
	noise   []Pause       // in the order of their times
	longest time.Duration // of them
	bare    []interval
	owned   []ownership
	moves   map[netip.Addr][]time.Duration
	seen    map[view][]span
	verdict Verdict
}

func (c *checker) fail(i interval, format string, args ...any) {
	v := Violation{interval: i, What: fmt.Sprintf(format, args...)}
	for _, f := range c.Faults {
		if (interval{f.Begin, max(f.Ready, f.Undone, f.Injected, f.Begin) + settle}).overlaps(interval{i.from, max(i.to, i.from+1)}) {
			v.Faults = append(v.Faults, f.String())
		}
	}
	c.verdict.Violations = append(c.verdict.Violations, v)
}

// allowed returns when something is allowed: the windows of the given effects that match.
func (c *checker) allowed(match func(window) bool, effects ...effect) (list []interval) {
	for _, w := range c.windows {
		if slices.Contains(effects, w.effect) && match(w) {
			list = append(list, w.interval)
		}
	}
	return list
}

// kindAt returns the kind of the fault that allows an effect in an interval, empty if none does.
func (c *checker) kindAt(i interval, match func(window) bool, effects ...effect) string {
	for _, w := range c.windows {
		if slices.Contains(effects, w.effect) && w.overlaps(i) && match(w) {
			n := slices.IndexFunc(c.Faults, func(f Fault) bool { return f.Number == w.fault })
			return c.Faults[n].Kind
		}
	}
	return ""
}

// findNoise returns the pauses of the machine: those that were measured, and connections to nodes that failed though no fault
// allows that.
func (c *checker) findNoise() []Pause {
	noise := slices.Clone(c.Pauses)
	for _, a := range c.Controls {
		if a.Err == "" {
			continue
		}
		cut := slices.ContainsFunc(c.Faults, func(f Fault) bool {
			hit := f.Kind == "partition" || f.Node == a.Target
			return hit && classOf(f.Kind) == lanClass && (interval{f.Begin - lapse, f.Undone + lapse}).has(a.At)
		})
		if !cut {
			noise = append(noise, Pause{At: a.At, Lost: lapse, Where: a.Target})
		}
	}
	slices.SortFunc(noise, func(a, b Pause) int { return cmp.Compare(a.At, b.At) })
	for _, p := range noise {
		c.longest = max(c.longest, p.Lost)
	}
	return noise
}

// tolerance returns how long something may last that is over at once but for the machine: a lapse, and what the machine lost
// then, or shortly before.
func (c *checker) tolerance(i interval) time.Duration {
	return lapse + c.lost(interval{i.from - time.Second, i.to})
}

// lost returns for how long of i somebody was kept waiting for the processor. Pauses at the same time count once.
func (c *checker) lost(i interval) time.Duration {
	var pauses []interval
	for _, p := range c.noiseIn(i) {
		pauses = append(pauses, interval{p.At, p.At + p.Lost})
	}
	return i.length() - i.outside(pauses)
}

func (c *checker) noiseIn(i interval) []Pause {
	from := sort.Search(len(c.noise), func(n int) bool { return c.noise[n].At > i.from-c.longest })
	var in []Pause
	for _, p := range c.noise[from:] {
		if p.At >= i.to {
			break
		}
		if p.At+p.Lost > i.from {
			in = append(in, p)
		}
	}
	return in
}

// jolted reports whether the machine paused before a moment for long enough to make a live node look dead.
func (c *checker) jolted(t time.Duration) bool {
	return slices.ContainsFunc(c.noiseIn(interval{t - aftermath, t + lapse}), func(p Pause) bool { return p.Lost >= jolt })
}

// checkReady looks at whether all came back after each fault.
func (c *checker) checkReady() {
	for _, f := range c.Faults {
		if f.Ready == 0 {
			c.fail(interval{f.Begin, c.End}, "not all was ready again")
		}
	}
}

// ownership is a time in which a Service showed an address.
type ownership struct {
	interval
	addr    netip.Addr
	service string
	uid     string
	sharing string
	local   bool
}

// checkServices looks at which Service had which address.
func (c *checker) checkServices() {
	last := map[string]Change{} // by UID
	open := map[string][]*ownership{}
	pending := map[string]time.Duration{}
	var all []*ownership
	for _, ch := range c.Changes {
		before, known := last[ch.UID]
		if !known {
			pending[ch.UID] = ch.At
		}
		if !ch.Deleted && len(before.Addrs) > 0 && !slices.Equal(before.Addrs, ch.Addrs) {
			c.fail(interval{ch.At, ch.At}, "Service %s had %v and has %v", ch.Service, before.Addrs, ch.Addrs)
		}
		if since, ok := pending[ch.UID]; ok && (len(ch.Addrs) > 0 || ch.Deleted) {
			c.checkPending(ch.Service, interval{since, ch.At})
			delete(pending, ch.UID)
		}
		for _, o := range open[ch.UID] {
			o.to = ch.At
		}
		delete(open, ch.UID)
		last[ch.UID] = ch
		if ch.Deleted {
			continue
		}
		for _, a := range ch.Addrs {
			o := &ownership{interval{ch.At, c.End}, a, ch.Service, ch.UID, ch.Sharing, ch.Local}
			all, open[ch.UID] = append(all, o), append(open[ch.UID], o)
		}
	}
	for uid, since := range pending {
		c.checkPending(last[uid].Service, interval{since, c.End})
	}
	for _, o := range all {
		c.owned = append(c.owned, *o)
	}
	c.checkOwners()
}

// checkPending looks at a Service that waited for an address.
func (c *checker) checkPending(service string, i interval) {
	if due := postponed(c.windows, i.from+claim, claim); i.to > due+c.tolerance(i) {
		c.fail(i, "Service %s had no address", service)
	}
}

// checkOwners looks for addresses with two owners. After the API server was away, what was missed comes in any order.
func (c *checker) checkOwners() {
	for n, a := range c.owned {
		for _, b := range c.owned[n+1:] {
			if a.addr != b.addr || a.uid == b.uid || a.sharing != "" && a.sharing == b.sharing || !a.overlaps(b.interval) {
				continue
			}
			i := interval{max(a.from, b.from), min(a.to, b.to)}
			late := c.allowed(func(w window) bool { return w.overlaps(i) }, lagEffect)
			if len(late) == 0 || i.length() > c.tolerance(i) {
				c.fail(i, "%s belonged to Services %s and %s", a.addr, a.service, b.service)
			}
		}
	}
}

// view is one address as one observer sees it.
type view struct {
	observer string
	addr     netip.Addr
}

// answer is one answer to an observer.
type answer struct {
	at   time.Duration
	node string
}

// dialogue is what an observer asked about an address, and what it was told.
type dialogue struct {
	asked    []time.Duration
	answered []answer
}

// span is a time in which a node answered without a lapse.
type span struct {
	interval // with its end
	node     string
}

// dialogues sorts the frames by observer and address. An answer that tells a MAC which is not that of the node behind the
// port is a violation.
func (c *checker) dialogues() map[view]*dialogue {
	all := map[view]*dialogue{}
	get := func(v view) *dialogue {
		if all[v] == nil {
			all[v] = &dialogue{}
		}
		return all[v]
	}
	for _, f := range c.Frames {
		if f.Question {
			if o := host(c.Observers, f.MAC); o != "" {
				d := get(view{o, f.Addr})
				d.asked = append(d.asked, f.At)
			}
			continue
		}
		o := host(c.Observers, f.To)
		if o == "" {
			continue
		}
		if node := host(c.Nodes, f.MAC); node != f.Port {
			c.fail(interval{f.At, f.At}, "behind the port of %s somebody answered that %s is at %s", f.Port, f.Addr, f.MAC)
			continue
		}
		d := get(view{o, f.Addr})
		d.answered = append(d.answered, answer{f.At, f.Port})
	}
	return all
}

// checkFrames looks at who answered.
func (c *checker) checkFrames() {
	c.moves, c.seen = map[netip.Addr][]time.Duration{}, map[view][]span{}
	all := c.dialogues()
	for _, v := range slices.SortedFunc(maps.Keys(all), func(a, b view) int {
		return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.observer, b.observer))
	}) {
		d := all[v]
		c.seen[v] = spansOf(d.answered)
		c.checkSilence(v, d)
		c.checkDuplicates(v, c.seen[v])
		c.checkMoves(v, c.seen[v])
		c.checkUnwanted(v, d.answered)
	}
	c.checkAsked(all)
}

// checkAsked looks for addresses that nobody asked for, so that nothing is known of them.
func (c *checker) checkAsked(all map[view]*dialogue) {
	for _, o := range c.owned {
		if o.length() < claim {
			continue
		}
		d := all[view{cluster.Client, o.addr}]
		if d == nil || !slices.ContainsFunc(d.asked, o.has) {
			c.fail(o.interval, "nobody asked for %s of %s", o.addr, o.service)
		}
	}
}

// spansOf returns the spans of all nodes, in the order in which they began.
func spansOf(answers []answer) (spans []span) {
	current := map[string]int{}
	for _, a := range answers {
		if i, ok := current[a.node]; ok && a.at-spans[i].to <= lapse {
			spans[i].to = a.at
			continue
		}
		current[a.node] = len(spans)
		spans = append(spans, span{interval{a.at, a.at}, a.node})
	}
	return spans
}

// matcher returns whether a window is about an address as an observer sees it, held by one of some nodes.
func (c *checker) matcher(v view, at interval, nodes ...string) func(window) bool {
	services := c.servicesOf(v.addr, at)
	return func(w window) bool {
		return !w.cluster && (w.node == "" || slices.Contains(nodes, w.node)) && (w.observer == "" || w.observer == v.observer) &&
			(w.service == "" || slices.Contains(services, w.service))
	}
}

func (c *checker) servicesOf(addr netip.Addr, at interval) (names []string) {
	for _, o := range c.owned {
		if o.addr == addr && o.from <= at.to && at.from <= o.to {
			names = append(names, o.service)
		}
	}
	return names
}

// checkSilence looks for times in which questions for an address went unanswered. Those that nobody asked make no silence.
func (c *checker) checkSilence(v view, d *dialogue) {
	last := answer{at: -1}
	for n := 0; n <= len(d.answered); n++ {
		next := answer{at: c.End}
		if n < len(d.answered) {
			next = d.answered[n]
		}
		q, _ := slices.BinarySearch(d.asked, last.at+1)
		if q < len(d.asked) && d.asked[q] < next.at && next.at-d.asked[q] > noticeable {
			c.silence(v, interval{d.asked[q], next.at}, last.node, d.asked)
		}
		last = next
	}
}

// silence looks at one such time, as far as the address belonged to a Service and questions were asked.
func (c *checker) silence(v view, all interval, holder string, asked []time.Duration) {
	for _, o := range c.owned {
		if o.addr != v.addr || !o.overlaps(all) {
			continue
		}
		i := interval{max(all.from, postponed(c.windows, o.from+claim, claim)), min(all.to, o.to)}
		i.to = lastAsked(asked, i)
		if i.length() <= noticeable {
			continue
		}
		match := c.matcher(v, i, holder)
		idle := c.allowed(match, idleEffect)
		if i.outside(idle) == i.length() {
			kind := c.kindAt(i, match, gapEffect)
			c.verdict.WorstGap = max(c.verdict.WorstGap, i.length())
			c.verdict.Gaps[kind] = max(c.verdict.Gaps[kind], i.length())
		}
		if excess := i.outside(append(idle, c.allowed(match, gapEffect)...)); excess > c.tolerance(i) {
			c.fail(i, "nobody answered %s for %s of %s for %d ms, %d ms more than allowed; before that %s did", v.observer, v.addr,
				o.service, i.length().Milliseconds(), excess.Milliseconds(), cmp.Or(holder, "nobody"))
		}
	}
}

// lastAsked returns when in an interval the asking came to an end: its end, unless there was no question for longer than a
// lapse before that, as on a cable that is cut.
func lastAsked(asked []time.Duration, i interval) time.Duration {
	n, _ := slices.BinarySearch(asked, i.from)
	at := i.from
	for ; n < len(asked) && asked[n] < i.to && asked[n]-at <= lapse; n++ {
		at = asked[n]
	}
	if i.to-at <= lapse {
		return i.to
	}
	return at
}

// checkDuplicates looks for times in which two nodes answered.
func (c *checker) checkDuplicates(v view, spans []span) {
	for n, a := range spans {
		for _, b := range spans[n+1:] {
			if b.from >= a.to {
				break
			}
			i := interval{b.from, min(a.to, b.to)}
			if a.node == b.node || i.length() == 0 {
				continue
			}
			match := c.matcher(v, i, a.node, b.node)
			kind := c.kindAt(i, match, dupEffect)
			c.verdict.WorstDuplicate = max(c.verdict.WorstDuplicate, i.length())
			c.verdict.Duplicates[kind] = max(c.verdict.Duplicates[kind], i.length())
			if excess := i.outside(c.allowed(match, dupEffect)); excess > c.tolerance(i) {
				c.fail(i, "%s and %s both answered %s for %s for %d ms, %d ms more than allowed", a.node, b.node, v.observer, v.addr,
					i.length().Milliseconds(), excess.Milliseconds())
			}
		}
	}
}

// checkMoves looks for moves of an address that no fault of its holder allows.
func (c *checker) checkMoves(v view, spans []span) {
	for n := 1; n < len(spans); n++ {
		to := spans[n]
		from := spans[n-1]
		for _, s := range spans[:n] { // who answered last before, or still does
			if s.to > from.to {
				from = s
			}
		}
		if from.node == to.node {
			continue
		}
		c.moves[v.addr] = append(c.moves[v.addr], to.from)
		// The move lies somewhere between the last answer of the one and the first of the other.
		i := interval{min(from.to, to.from), to.from + 1}
		if !c.sameOwner(v.addr, i) || c.jolted(to.from) {
			continue
		}
		match := c.matcher(v, i, from.node)
		if !slices.ContainsFunc(c.allowed(match, moveEffect), i.overlaps) {
			c.fail(i, "%s moved from %s to %s without a cause, as %s saw", v.addr, from.node, to.node, v.observer)
		}
	}
}

// sameOwner reports whether the address belonged to the same Service all the time, and not only since a moment ago.
func (c *checker) sameOwner(addr netip.Addr, i interval) bool {
	return slices.ContainsFunc(c.owned, func(o ownership) bool {
		return o.addr == addr && postponed(c.windows, o.from+claim, claim) <= i.from && i.to <= o.to
	})
}

// checkUnwanted looks for answers for addresses that belong to no Service, or to one without endpoints.
func (c *checker) checkUnwanted(v view, answers []answer) {
	var bad []answer
	flush := func() {
		if len(bad) == 0 {
			return
		}
		i := interval{bad[0].at, bad[len(bad)-1].at}
		if i.length() > c.tolerance(i) {
			c.fail(i, "%s answered for %s, which nobody should", bad[0].node, v.addr)
		}
		bad = nil
	}
	for _, a := range answers {
		if c.wanted(v.addr, a.at) {
			flush()
			continue
		}
		bad = append(bad, a)
	}
	flush()
}

// wanted reports whether somebody may answer for an address.
func (c *checker) wanted(addr netip.Addr, at time.Duration) bool {
	return slices.ContainsFunc(c.owned, func(o ownership) bool {
		if o.addr != addr || at < o.from {
			return false
		}
		if at < o.to {
			return o.service != churn || !c.noEndpoints(at)
		}
		return at < postponed(c.windows, o.to+release, release)
	})
}

// noEndpoints reports whether the Service churn has had no endpoints for so long that all must know.
func (c *checker) noEndpoints(at time.Duration) bool {
	return slices.ContainsFunc(c.bare, func(i interval) bool { return i.has(at) })
}

// findBare returns when the Service churn had no endpoints, and all must have known.
func (c *checker) findBare() (bare []interval) {
	for _, f := range c.Faults {
		if f.Kind == "endpoints-none" {
			bare = append(bare, interval{postponed(c.windows, f.Injected+release, release) + 1, f.Heal})
		}
	}
	return bare
}

// checkAttempts looks for connections to Services that failed.
func (c *checker) checkAttempts() {
	type row struct {
		service string
		addr    netip.Addr
	}
	failed := map[row][]Attempt{}
	for _, a := range c.Attempts {
		if a.Err != "" && !c.excused(a) {
			r := row{a.Target, a.Addr}
			failed[r] = append(failed[r], a)
		}
	}
	for r, list := range failed {
		for len(list) > 0 {
			n := 1
			for n < len(list) && list[n].At-list[n-1].At <= time.Second {
				n++
			}
			i := interval{list[0].At, list[n-1].At}
			c.fail(i, "%d connections to %s of %s failed: %s", n, r.addr, r.service, list[0].Err)
			list = list[n:]
		}
	}
}

// excused reports whether there is a reason for a connection to fail.
func (c *checker) excused(a Attempt) bool {
	i := interval{a.At - lapse, a.At + lapse}
	n := slices.IndexFunc(c.owned, func(o ownership) bool {
		return o.addr == a.Addr && o.service == a.Target && postponed(c.windows, o.from+claim, claim) < a.At && a.At < o.to-lapse
	})
	if n < 0 || len(c.noiseIn(interval{a.At - lapse, a.At + 2*lapse})) > 0 {
		return true
	}
	if a.Reset && slices.ContainsFunc(c.moves[a.Addr], func(t time.Duration) bool { return (t - a.At).Abs() < straddle }) {
		return true
	}
	match := c.matcher(view{cluster.Client, a.Addr}, i, c.holders(a)...)
	return slices.ContainsFunc(c.windows, func(w window) bool {
		matches := match(w) || w.cluster && !c.owned[n].local
		return w.effect == connEffect && w.overlaps(i) && matches
	})
}

// holders returns who answered the client for the address of an attempt, about then or last before.
func (c *checker) holders(a Attempt) (nodes []string) {
	var last span
	for _, s := range c.seen[view{cluster.Client, a.Addr}] {
		if s.from > a.At+time.Second {
			continue
		}
		if s.to > last.to {
			last = s
		}
		if s.to > a.At-time.Second {
			nodes = append(nodes, s.node)
		}
	}
	return append(nodes, last.node)
}
