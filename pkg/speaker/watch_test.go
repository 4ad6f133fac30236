package speaker

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/membership"
)

// lan is the far side of a watch: hosts that answer at once or not at all, on a clock of its own.
type lan struct {
	*watch
	now     time.Time
	next    time.Time // when the watch wants to tick
	mute    map[netip.Addr]bool
	ended   map[string]bool
	linkOff bool
	heard   []netip.Addr // answers that nobody has collected
}

// Ask implements wire: those that are not mute answer at once, without a zone.
func (l *lan) Ask(a netip.Addr) error {
	if l.linkOff {
		return errors.New("network is down")
	}
	if !l.mute[a] {
		l.heard = append(l.heard, a.WithZone(""))
	}
	return nil
}

// Collect implements wire.
func (l *lan) Collect(answered func(netip.Addr)) {
	for _, a := range l.heard {
		answered(a)
	}
	l.heard = l.heard[:0]
}

func (l *lan) tick() change {
	if l.now.Before(l.next) {
		l.now = l.next
	}
	c := l.watch.tick(l.now, l, func(p membership.Peer) bool { return l.ended[p.Name] })
	l.next = c.next
	return c
}

// pass lets ticks go by and returns what they found.
func (l *lan) pass(d time.Duration) (c change) {
	for end := l.now.Add(d); l.now.Before(end); {
		t := l.tick()
		c.fell = append(c.fell, t.fell...)
		c.back = append(c.back, t.back...)
		c.met = append(c.met, t.met...)
		c.paused = c.paused || t.paused
	}
	return c
}

// wantSilent compares who is silent, and whether nobody is heard any more.
func (l *lan) wantSilent(t *testing.T, when string, deaf bool, want ...string) {
	t.Helper()
	gotDeaf, hears := l.hears()
	if diff := cmp.Diff(want, l.silent(), cmpopts.EquateEmpty()); diff != "" || gotDeaf != deaf || hears == deaf {
		t.Errorf("%s: deaf = %v and hears = %v, want %v; silent (-want +got):\n%s", when, gotDeaf, hears, deaf, diff)
	}
}

func TestWatch(t *testing.T) {
	two := membership.Peer{Name: "node2", Addr: addr("192.168.1.12")}
	three := membership.Peer{Name: "node3", Addr: addr("192.168.1.13")}
	l := &lan{watch: newWatch(), now: time.Unix(1000, 0), mute: map[netip.Addr]bool{}, ended: map[string]bool{}}
	l.set([]membership.Peer{two, three}, nil)
	if c := l.pass(time.Second); len(c.fell)+len(c.back) > 0 {
		t.Errorf("news though all answer: %+v", c)
	}
	l.mute[two.Addr] = true
	fell := l.pass(250 * time.Millisecond).fell
	if diff := cmp.Diff([]fall{{"node2", 120 * time.Millisecond}}, fell, cmp.AllowUnexported(fall{})); diff != "" {
		t.Errorf("node2 is mute (-want +got):\n%s", diff)
	}
	since := func(node string) time.Time { at, _ := l.silentSince(node); return at }
	if since("node2").IsZero() || !since("node3").IsZero() {
		t.Error("not only node2 is silent since some time")
	}
	l.wantSilent(t, "node2 is mute", false, "node2")
	l.set([]membership.Peer{two, three}, nil) // nothing is forgotten
	l.wantSilent(t, "set again", false, "node2")

	l.mute[three.Addr] = true
	l.pass(250 * time.Millisecond)
	l.wantSilent(t, "both are mute", true, "node2", "node3")

	clear(l.mute)
	c := l.pass(250 * time.Millisecond)
	if diff := cmp.Diff(2, len(c.back)); diff != "" {
		t.Errorf("back are %v", c.back)
	}
	l.wantSilent(t, "both answer again", false)

	l.linkOff = true
	l.pass(time.Second)
	l.wantSilent(t, "nobody can be asked", false) // and so nobody is missed
	l.linkOff = false

	l.ended["node3"] = true
	l.pass(election.ProbeInterval)
	l.wantSilent(t, "node3's process has ended", false, "node3")
	l.set([]membership.Peer{two}, nil)
	l.wantSilent(t, "node3 is no target any more", false)
}

// TestWatchOfAbsentOnes: who has never answered on the wire is silent once it has not answered a roll call.
func TestWatchOfAbsentOnes(t *testing.T) {
	two := membership.Peer{Name: "node2", Addr: addr("192.168.1.12")}
	three := membership.Peer{Name: "node3", Addr: addr("192.168.1.13")}
	l := &lan{watch: newWatch(), now: time.Unix(1000, 0), mute: map[netip.Addr]bool{two.Addr: true}, ended: map[string]bool{}}
	for _, tc := range []struct {
		name         string
		absent, want []string
	}{
		{name: "all answer the roll call"},
		{name: "nobody does", absent: []string{"node2", "node3", "node4"}, want: []string{"node2"}}, // node3 answers on the wire
		{name: "all do again"},
	} {
		l.set([]membership.Peer{two, three}, tc.absent)
		l.pass(time.Second)
		if diff := cmp.Diff(tc.want, l.silent()); diff != "" {
			t.Errorf("%s: silent (-want +got):\n%s", tc.name, diff)
		}
	}
}

// TestWatchAllocates: with nothing new a tick makes no garbage, as there are a million of them in a day.
func TestWatchAllocates(t *testing.T) {
	two := membership.Peer{Name: "node2", Addr: addr("192.168.1.12")}
	l := &lan{watch: newWatch(), now: time.Unix(1000, 0), mute: map[netip.Addr]bool{}, ended: map[string]bool{}}
	l.set([]membership.Peer{two}, nil)
	l.pass(time.Second)
	ended := func(membership.Peer) bool { return false }
	if n := testing.AllocsPerRun(1000, func() { l.next = l.watch.tick(l.next, l, ended).next }); n > 0 {
		t.Errorf("%v allocations for a tick", n)
	}
}

// TestWatchAfterAPause is about an answer that nobody could read: it counts before anybody is judged.
func TestWatchAfterAPause(t *testing.T) {
	two := membership.Peer{Name: "node2", Addr: addr("192.168.1.12")}
	l := &lan{watch: newWatch(), now: time.Unix(1000, 0), mute: map[netip.Addr]bool{}, ended: map[string]bool{}}
	l.set([]membership.Peer{two}, nil)
	l.pass(time.Second)
	l.mute[two.Addr] = true
	l.pass(2 * election.ProbeInterval)
	l.heard = append(l.heard, two.Addr)
	l.now = l.now.Add(time.Second)
	c := l.tick()
	if len(c.fell) > 0 {
		t.Error("judged before the answer was read")
	}
	if got := l.pause(l.now); !c.paused || got < time.Second {
		t.Errorf("paused = %v for %v, want a second", c.paused, got)
	}
	clear(l.mute)
	if c := l.pass(time.Second); c.paused {
		t.Error("there was another pause")
	}
	l.wantSilent(t, "it answered in time", false)
}

// TestWatchSeeks is about speakers that are no members and whose nodes answer: each answer to a question is one reason to meet the
// speaker, and if it can't be met the questions become rare. One is watched anyway, as nodes are if no speaker can be talked to.
func TestWatchSeeks(t *testing.T) {
	two := membership.Peer{Name: "node2", Addr: addr("192.168.1.12"), Port: membership.DefaultPort}
	sought := []netip.AddrPort{
		netip.AddrPortFrom(two.Addr, two.Port), netip.AddrPortFrom(addr("192.168.1.13"), membership.DefaultPort),
	}
	l := &lan{watch: newWatch(), now: time.Unix(1000, 0), mute: map[netip.Addr]bool{}, ended: map[string]bool{}}
	l.set([]membership.Peer{two}, nil)
	l.seek(sought, l.now)
	met := func(d time.Duration) map[netip.AddrPort]int {
		n := map[netip.AddrPort]int{}
		for _, a := range l.pass(d).met {
			n[a]++
		}
		return n
	}
	for a, n := range met(2 * time.Second) {
		if n < 10 {
			t.Errorf("%v is to be met %d times in the first two seconds", a, n)
		}
	}
	met(time.Minute)
	got := met(time.Minute)
	for _, a := range sought {
		if got[a] < 50 || got[a] > 60 {
			t.Errorf("%v is to be met %d times in a minute after the first one, want once a second", a, got[a])
		}
	}
	n := 0
	for range 100 { // answers that nobody has asked for
		l.heard = append(l.heard, sought[1].Addr())
		l.now, l.next = l.now.Add(time.Millisecond), time.Time{}
		if slices.Contains(l.tick().met, sought[1]) {
			n++
		}
	}
	if n > 1 {
		t.Errorf("%d answers in a tenth of a second are taken for answers to questions", n)
	}
}

// TestWatchWithoutLink counts how often the watch wakes this process while nobody can be asked: no more often than otherwise.
func TestWatchWithoutLink(t *testing.T) {
	two := membership.Peer{Name: "node2", Addr: addr("192.168.1.12")}
	l := &lan{watch: newWatch(), now: time.Unix(1000, 0), mute: map[netip.Addr]bool{}, ended: map[string]bool{}}
	l.set([]membership.Peer{two}, nil)
	l.pass(time.Second)
	l.mute[two.Addr] = true
	l.tick() // a question that stays open
	l.linkOff = true
	ticks := 0
	for end := l.now.Add(time.Second); l.now.Before(end); ticks++ {
		l.tick()
	}
	if limit := int(time.Second/election.ProbeInterval) + 2; ticks > limit {
		t.Errorf("%d ticks in a second without link, want at most %d", ticks, limit)
	}
}
