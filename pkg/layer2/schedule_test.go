package layer2

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func pairOf(n int) pair {
	return pair{netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 1}
}

// sending is one announcement of a simulated schedule.
type sending struct {
	pair pair
	at   time.Duration // since epoch
	kind taskKind
}

// simulate asks s from one time to another, both since epoch, and sends frames for each announcement and one for each
// probe.
func simulate(s *schedule, from, to time.Duration, frames int) []sending {
	var out []sending
	for now := from; now <= to; {
		t, ok, wait := s.next(epoch.Add(now))
		switch {
		case ok:
			out = append(out, sending{t.pair, now, t.kind})
			switch t.kind {
			case taskAnnounce:
				s.sent(frames, epoch.Add(now))
			case taskProbe:
				s.sent(1, epoch.Add(now))
			}
		case wait == 0:
			return out
		default:
			now += wait
		}
	}
	return out
}

func times(sendings []sending, p pair) []time.Duration {
	var out []time.Duration
	for _, s := range sendings {
		if s.pair == p {
			out = append(out, s.at)
		}
	}
	return out
}

func noJitter() float64 { return 0 }

func TestScheduleOfOne(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	s := newSchedule(Config{}, noJitter)
	s.start(pairOf(1), epoch)
	want := []time.Duration{0, ms(200), ms(1200), ms(2300), ms(3400), ms(4500), ms(94500), ms(184500)}
	if diff := cmp.Diff(want, times(simulate(s, 0, ms(200000), 2), pairOf(1))); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
	// Starting again begins at once, whatever comes next otherwise.
	s.start(pairOf(1), epoch.Add(ms(200000)))
	want = []time.Duration{ms(200000), ms(200200), ms(201200)}
	if diff := cmp.Diff(want, times(simulate(s, ms(200000), ms(202000), 2), pairOf(1))); diff != "" {
		t.Errorf("times after starting again (-want +got):\n%s", diff)
	}
	s.stop(pairOf(1))
	s.stop(pairOf(2))
	if _, ok, wait := s.next(epoch.Add(ms(300000))); ok || wait != 0 {
		t.Errorf("next after stop = %v, %v, want nothing for ever", ok, wait)
	}
}

func TestScheduleRefreshJitters(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := newSchedule(Config{}, rng.Float64)
	s.start(pairOf(1), epoch)
	at := times(simulate(s, 0, 10*time.Hour, 2), pairOf(1))
	distinct := make(map[time.Duration]bool)
	for i := len(burst); i < len(at); i++ {
		d := at[i] - at[i-1]
		distinct[d] = true
		if d < 71*time.Second || d > 90*time.Second {
			t.Errorf("refreshed after %v, want 72 to 90 s, a second less when rounded", d)
		}
	}
	if len(distinct) < 15 {
		t.Errorf("%d different distances in ten hours", len(distinct))
	}
}

// TestScheduleRefreshesTogether has a thousand addresses refreshed: that wakes the processor once a second.
func TestScheduleRefreshesTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := newSchedule(Config{}, rng.Float64)
	for n := range 1000 {
		s.start(pairOf(n), epoch)
	}
	simulate(s, 0, 10*time.Second, 2)
	seconds := make(map[time.Duration]int)
	for _, sent := range simulate(s, 10*time.Second, 10*time.Minute, 2) {
		seconds[sent.at.Truncate(100*time.Millisecond)]++
	}
	if len(seconds) > 600 {
		t.Errorf("refreshes at %d times in ten minutes", len(seconds))
	}
}

// TestScheduleOfThousand: a thousand addresses that move at once stay below the rate, and each one's first announcement
// comes before any other's second.
func TestScheduleOfThousand(t *testing.T) {
	const n, rate, frames = 1000, 1000, 2
	s := newSchedule(Config{FramesPerSecond: rate}, noJitter)
	for i := range n {
		s.start(pairOf(i), epoch)
	}
	got := simulate(s, 0, 60*time.Second, frames)
	if len(got) != n*len(burst) {
		t.Fatalf("%d announcements in the first minute, want %d", len(got), n*len(burst))
	}
	step := make(map[pair]int)
	for i, g := range got[:n] {
		if step[g.pair]++; step[g.pair] > 1 {
			t.Fatalf("announcement %d is the second of %v", i, g.pair)
		}
	}
	if last := got[n-1].at; last > 2*time.Second {
		t.Errorf("the last address is announced after %v", last)
	}
	window := 0
	for i, g := range got {
		for got[window].at <= g.at-time.Second {
			window++
		}
		if sent := (i - window + 1) * frames; sent > rate+rate*int(credit)/int(time.Second)+frames {
			t.Fatalf("%d frames in the second before %v, want at most %d", sent, g.at, rate)
		}
	}
	for i := range n {
		at := times(got, pairOf(i))
		for j := 2; j < len(at); j++ {
			if d := at[j] - at[j-1]; d < time.Second {
				t.Fatalf("announcements %d and %d are %v apart, want a second or more", j-1, j, d)
			}
		}
	}
}

// TestScheduleLateComer: while a thousand addresses are at their repetitions, a new one doesn't queue behind them.
func TestScheduleLateComer(t *testing.T) {
	s := newSchedule(Config{FramesPerSecond: 100}, noJitter)
	for i := range 1000 {
		s.start(pairOf(i), epoch)
	}
	simulate(s, 0, 21*time.Second, 2)
	now := 21 * time.Second
	late := pairOf(5000)
	s.start(late, epoch.Add(now))
	at := times(simulate(s, now, now+time.Second, 2), late)
	if len(at) == 0 || at[0]-now > 50*time.Millisecond {
		t.Errorf("announced at %v after it began", at)
	}
}

// TestScheduleAgainstMap compares the pairs that are announced in random histories with those that were started and not
// stopped.
func TestScheduleAgainstMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	s := newSchedule(Config{Refresh: 30 * time.Second}, rng.Float64)
	live := make(map[pair]time.Duration)
	now := time.Duration(0)
	for range 2000 {
		p := pairOf(rng.IntN(50))
		if rng.IntN(3) == 0 {
			s.stop(p)
			delete(live, p)
		} else {
			s.start(p, epoch.Add(now))
			live[p] = now
		}
		step := time.Duration(rng.IntN(500)) * time.Millisecond
		for _, g := range simulate(s, now, now+step, 2) {
			if _, ok := live[g.pair]; !ok {
				t.Fatalf("%v is announced after it was stopped", g.pair)
			}
			live[g.pair] = g.at
		}
		now += step
		if len(s.entries) != len(live) || s.waiting.Len()+s.due.Len() != len(live) {
			t.Fatalf("%d entries, %d in heaps, want %d", len(s.entries), s.waiting.Len()+s.due.Len(), len(live))
		}
		for p, last := range live {
			if now-last > 31*time.Second {
				t.Fatalf("%v was not announced for %v", p, now-last)
			}
		}
	}
}

func TestScheduleProbes(t *testing.T) {
	s := newSchedule(Config{}, noJitter)
	s.probe(pairOf(1), epoch.Add(5*ms), 7)
	want := []sending{
		{pairOf(1), 5 * ms, taskProbe},
		{pairOf(1), 155 * ms, taskProbe},
		{pairOf(1), 305 * ms, taskProbe},
		{pairOf(1), 455 * ms, taskListened},
	}
	got := simulate(s, 0, 100*ms, 2)
	s.once(pairOf(1), epoch.Add(100*ms)) // not announced: nothing to defend
	got = append(got, simulate(s, 100*ms, time.Hour, 2)...)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sending{}, pair{}), compareAddr); diff != "" {
		t.Errorf("round (-want +got):\n%s", diff)
	}
	if _, ok, wait := s.next(epoch.Add(time.Hour)); ok || wait != 0 || len(s.entries) > 0 {
		t.Errorf("something is planned after the round: %v %v", ok, wait)
	}
	s.probe(pairOf(1), epoch.Add(time.Hour), 8)
	s.start(pairOf(1), epoch.Add(time.Hour))
	if got := simulate(s, time.Hour, time.Hour, 2); len(got) != 1 || got[0].kind != taskAnnounce {
		t.Errorf("claimed: %v", got)
	}
}

// TestScheduleOnce: an announcement out of turn leaves the others where they are.
func TestScheduleOnce(t *testing.T) {
	s := newSchedule(Config{}, noJitter)
	s.start(pairOf(1), epoch)
	s.once(pairOf(1), epoch) // the first is due anyway
	s.once(pairOf(2), epoch)
	var got []sending
	for _, at := range []time.Duration{700 * ms, 10 * time.Second} {
		got = append(got, simulate(s, 0, at-1, 2)...)
		s.once(pairOf(1), epoch.Add(at))
		s.once(pairOf(1), epoch.Add(at))
		got = append(got, simulate(s, at, at, 2)...)
	}
	got = append(got, simulate(s, 11*time.Second, 100*time.Second, 2)...)
	want := []time.Duration{0, 200 * ms, 700 * ms, 1200 * ms, 2300 * ms, 3400 * ms, 4500 * ms, 10 * time.Second, 94500 * ms}
	if diff := cmp.Diff(want, times(got, pairOf(1))); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}

// TestSchedulePriorities has a thousand addresses probed for at once, on two interfaces each, while others become held and
// are defended, under random loads: nothing is sent faster than the rate, first announcements and defences don't wait for
// probes, probes keep their distance and are all sent, and every round ends.
func TestSchedulePriorities(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 11))
		rate := 200 + rng.IntN(4000)
		s := newSchedule(Config{FramesPerSecond: rate}, rng.Float64)
		probing, urgent := 200+rng.IntN(1800), make(map[pair]time.Duration)
		for i := range probing {
			s.probe(pairOf(i), epoch.Add(time.Duration(rng.IntN(2))*ms), uint64(i+1))
		}
		var got []sending
		now := time.Duration(0)
		for i := range 50 {
			step := time.Duration(rng.IntN(200)) * ms
			got = append(got, simulate(s, now, now+step, 2)...)
			now += step
			p := pairOf(10000 + i)
			s.start(p, epoch.Add(now))
			urgent[p] = now
			if i > 20 {
				p := pairOf(10000 + i - 20)
				if s.entries[p].step > 0 {
					s.once(p, epoch.Add(now))
					urgent[p] = now
				}
			}
			for p, since := range urgent {
				for _, g := range got {
					if g.pair == p && g.at >= since {
						delete(urgent, p)
						if late := g.at - since; late > 4*time.Second/time.Duration(rate)+10*ms {
							t.Fatalf("seed %d: %v waited %v at %d frames/s", seed, p, late, rate)
						}
						break
					}
				}
			}
		}
		got = append(got, simulate(s, now, now+time.Minute, 2)...)
		checkRate(t, got, rate)
		checkRounds(t, got, probing)
	}
}

// checkRate fails the test if in any second there are more frames than the rate allows, and what may be caught up.
func checkRate(t *testing.T, got []sending, rate int) {
	t.Helper()
	window, frames := 0, 0
	cost := map[taskKind]int{taskAnnounce: 2, taskProbe: 1}
	for _, g := range got {
		for got[window].at <= g.at-time.Second {
			frames -= cost[got[window].kind]
			window++
		}
		if frames += cost[g.kind]; frames > rate+rate*int(credit)/int(time.Second)+2 {
			t.Fatalf("%d frames in the second before %v, want at most %d", frames, g.at, rate)
		}
	}
}

// checkRounds fails the test unless there are n whole rounds, each with its distances.
func checkRounds(t *testing.T, got []sending, n int) {
	t.Helper()
	rounds := make(map[pair][]sending)
	for _, g := range got {
		if g.kind != taskAnnounce {
			rounds[g.pair] = append(rounds[g.pair], g)
		}
	}
	if len(rounds) != n {
		t.Fatalf("%d rounds, want %d", len(rounds), n)
	}
	for p, round := range rounds {
		if len(round) != 4 || round[3].kind != taskListened {
			t.Fatalf("%v: %v", p, round)
		}
		for i := 1; i < 4; i++ {
			if d := round[i].at - round[i-1].at; d < defaultProbeInterval {
				t.Fatalf("%v: %v after the one before: %v", p, d, round)
			}
		}
	}
}

func TestHerald(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var got []sending
		h := newHerald(newSchedule(Config{}, noJitter), func(task task) int {
			got = append(got, sending{task.pair, time.Since(begin), task.kind})
			return 2
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.run(ctx); close(done) }()
		synctest.Wait()
		h.update(nil, []pair{pairOf(1)})
		time.Sleep(time.Second)
		h.update(nil, []pair{pairOf(2)})
		time.Sleep(100 * time.Second)
		h.update([]pair{pairOf(1), pairOf(2)}, nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		h.update(nil, []pair{pairOf(3)})
		synctest.Wait()
		if n := len(got); n != 2*(len(burst)+1)+1 || got[n-1].pair != pairOf(3) || got[n-1].at != 3701*time.Second {
			t.Errorf("%d announcements: %v", n, got)
		}
		want := []time.Duration{0, 200 * time.Millisecond, 1200 * time.Millisecond}
		if diff := cmp.Diff(want, slices.Clip(times(got, pairOf(1))[:3])); diff != "" {
			t.Errorf("times (-want +got):\n%s", diff)
		}
		cancel()
		<-done
	})
}
