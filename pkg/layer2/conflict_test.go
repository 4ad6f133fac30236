package layer2

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/invar-lb/invar/pkg/netif"
	"github.com/invar-lb/invar/pkg/responder"
)

var (
	stranger = MAC{2, 9, 9, 9, 9, 1}
	another  = MAC{2, 9, 9, 9, 9, 2}
	peerMAC  = MAC{2, 8, 8, 8, 8, 1}
)

// tentative makes addresses tentative.
func (l *lab) tentative(addrs ...netip.Addr) {
	desired := make(map[netip.Addr]Announcement)
	for _, addr := range addrs {
		desired[addr] = Announcement{Tentative: true}
	}
	l.Set(desired)
}

// sight lets the responder of an interface see that somebody has an address.
func (l *lab) sight(name string, addr netip.Addr, mac MAC, kind responder.Kind) {
	l.responders[name].cfg.OnSighting(responder.Sighting{Addr: addr, MAC: mac, Kind: kind})
	synctest.Wait()
}

// wantFree compares which of the addresses are free.
func (l *lab) wantFree(want ...netip.Addr) {
	l.t.Helper()
	var got []netip.Addr
	for _, addr := range []netip.Addr{vip, other, remote, vip6} {
		if l.Free(addr) {
			got = append(got, addr)
		}
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("free: %v, want %v", got, want)
	}
}

// wantConflicts compares conflicts, as "address MAC interface".
func (l *lab) wantConflicts(want ...string) {
	l.t.Helper()
	var got []string
	for _, c := range l.Conflicts() {
		got = append(got, c.Address.String()+" "+c.MAC.String()+" "+c.Interface)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("conflicts (-want +got):\n%s", diff)
	}
}

// wantNews checks how often OnNews was called since the last call.
func (l *lab) wantNews(want int) {
	l.t.Helper()
	synctest.Wait()
	if got := l.news.Swap(0); int(got) != want {
		l.t.Errorf("OnNews was called %d times, want %d", got, want)
	}
}

const ms = time.Millisecond

func TestProbe(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.news.Store(0)
		l.tentative(vip, remote)
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip, remote}, "eth1": {remote}})
		probes := []string{"probe " + vip.String() + " eth0", "probe " + remote.String() + " eth0", "probe " + remote.String() + " eth1"}
		l.wantSent(probes...)
		l.pass(149 * ms)
		l.wantSent()
		l.pass(ms)
		l.wantSent(probes...)
		l.pass(150 * ms)
		l.wantSent(probes...)
		l.tentative(vip, remote) // the same again begins nothing
		l.pass(149 * ms)
		l.wantFree()
		l.wantNews(0)
		l.pass(ms)
		l.wantFree(vip, remote)
		if got := l.news.Swap(0); got < 1 || got > 2 {
			t.Errorf("OnNews was called %d times for two addresses", got)
		}
		l.wantSent()

		t.Log("what is known is made sure of every ten seconds")
		l.pass(9999 * ms)
		l.wantSent()
		l.pass(ms)
		l.wantSent(probes...)
		l.pass(time.Second)
		l.wantSent(slices.Concat(probes, probes)...)
		l.wantFree(vip, remote)
		l.wantNews(0)

		t.Log("then it is claimed")
		l.Set(map[netip.Addr]Announcement{vip: {}, remote: {Tentative: true}})
		l.wantSent(vip.String() + " eth0")
		l.wantFree(remote)
		l.set(vip)
		l.forget()
		l.pass(15 * time.Second)
		for _, sent := range l.forget() {
			if strings.HasPrefix(sent, "probe") {
				t.Errorf("%s, though nothing is tentative", sent)
			}
		}
		l.wantConflicts()
	})
}

func TestProbeSettings(t *testing.T) {
	inLab(t, Config{Probes: 1, ProbeInterval: 20 * ms}, func(l *lab) {
		l.tentative(vip)
		l.wantSent("probe " + vip.String() + " eth0")
		l.pass(19 * ms)
		l.wantFree()
		l.pass(ms)
		l.wantFree(vip)
		l.wantSent()
	})
}

// TestProbeAnswered: somebody has the address, and keeps it for some rounds.
func TestProbeAnswered(t *testing.T) {
	for _, kind := range []responder.Kind{responder.Claim, responder.Probe} {
		t.Run(kind.String(), func(t *testing.T) {
			inLab(t, Config{}, func(l *lab) {
				l.tentative(vip, other)
				l.pass(160 * ms)
				l.news.Store(0)
				l.sight("eth0", vip, stranger, kind)
				l.wantConflicts(vip.String() + " 02:09:09:09:09:01 eth0")
				l.wantNews(1)
				l.pass(time.Second)
				l.wantFree(other)
				l.wantNews(1)
				l.forget()

				begin := time.Now().Add(-time.Second)
				for _, pause := range []time.Duration{10, 20, 40, 60, 60} {
					l.tentative(vip)
					l.pass(time.Until(begin.Add(pause*time.Second - ms)))
					l.wantSent()
					l.pass(ms)
					l.wantSent("probe " + vip.String() + " eth0")
					begin = time.Now()
					l.sight("eth0", vip, stranger, kind)
					l.sight("eth0", vip, stranger, kind) // one probe may be answered twice
					l.pass(time.Second)
					l.sight("eth0", vip, stranger, kind) // and this changes nothing
				}
				l.wantFree()
				l.wantNews(0)
				if got := l.Conflicts()[0].Count; got != 16 {
					t.Errorf("counted %d sightings, want 16", got)
				}

				t.Log("it goes away")
				l.pass(time.Until(begin.Add(60*time.Second + 449*ms)))
				l.wantFree()
				l.pass(ms)
				l.wantFree(vip)
				l.wantConflicts()
				l.wantNews(1)

				t.Log("and comes back")
				l.sight("eth0", vip, another, kind)
				l.wantFree()
				l.wantConflicts(vip.String() + " 02:09:09:09:09:02 eth0")
				l.wantNews(1)
				l.forget()
				l.pass(10 * time.Second)
				l.wantSent("probe " + vip.String() + " eth0")
			})
		})
	}
}

// TestHurry: whoever has the address is about to give it up.
func TestHurry(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		probe := "probe " + vip.String() + " eth0"
		l.tentative(vip)
		l.sight("eth0", vip, stranger, responder.Claim)
		l.pass(time.Second)
		l.forget()

		t.Log("a pause that is under way ends")
		l.SetHurry(true)
		l.wantSent(probe)
		for range 100 {
			l.sight("eth0", vip, stranger, responder.Claim)
			l.pass(249 * ms)
			l.wantSent()
			l.SetHurry(true) // the same again begins nothing
			l.pass(ms)
			l.wantSent(probe)
		}

		t.Log("it gives the address up")
		l.pass(449 * ms)
		l.wantFree()
		l.pass(ms)
		l.wantFree(vip)
		l.wantConflicts()
		l.forget()

		t.Log("no hurry any more")
		l.sight("eth0", vip, stranger, responder.Claim)
		l.SetHurry(false)
		l.pass(250 * ms)
		l.wantSent(probe)
		l.sight("eth0", vip, stranger, responder.Claim)
		l.pass(9999 * ms)
		l.wantSent()
		l.pass(ms)
		l.wantSent(probe)
	})
}

// TestHurryOfMany: the more addresses there are, the longer is the pause of each.
func TestHurryOfMany(t *testing.T) {
	for _, tt := range []struct {
		addresses int
		want      time.Duration
	}{{1, 250 * ms}, {250, 250 * ms}, {1000, time.Second}, {20000, 10 * time.Second}} {
		g := newGuard(0, 1)
		g.hasten(true, epoch)
		for i := range tt.addresses {
			g.watches[netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})] = new(watch)
		}
		if got := g.after(0); got != tt.want {
			t.Errorf("%d addresses: a pause of %s, want %s", tt.addresses, got, tt.want)
		}
	}
}

// TestProbeInterfaces: an address is free only if all interfaces that would carry it have been probed.
func TestProbeInterfaces(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.tentative(remote)
		l.pass(450 * ms)
		l.wantFree(remote)

		t.Log("another interface")
		l.put(eth(4, "eth2"))
		l.wantFree()
		l.forget()
		l.pass(449 * ms)
		l.wantFree()
		l.pass(ms)
		l.wantFree(remote)

		t.Log("one less")
		l.change("eth1", func(i *netif.Interface) { i.Skip = netif.SkipNoCarrier })
		l.wantFree()
		l.pass(450 * ms)
		l.wantFree(remote)

		t.Log("a link that was down for a moment")
		l.change("eth0", func(i *netif.Interface) { i.Epoch++ })
		l.wantFree()
		l.pass(450 * ms)
		l.wantFree(remote)

		t.Log("a responder that fails counts for nothing, and for everything again when it works")
		l.fail("eth0", errors.New("operation not permitted"))
		l.wantFree()
		l.pass(450 * ms)
		l.wantFree(remote)
		l.fail("eth0", nil)
		l.wantFree()
		l.pass(450 * ms)
		l.wantFree(remote)

		t.Log("no interface at all")
		for _, name := range []string{"eth0", "eth2"} {
			l.change(name, func(i *netif.Interface) { i.Skip = netif.SkipNoCarrier })
		}
		l.forget()
		l.pass(time.Minute)
		l.wantFree()
		l.wantSent()
		l.change("eth0", func(i *netif.Interface) { i.Skip = netif.Eligible })
		l.wantSent("probe " + remote.String() + " eth0")
	})
}

// TestGuardInterfaces: the interface that is done last decides.
func TestGuardInterfaces(t *testing.T) {
	g := newGuard(0, 1)
	_, begin := g.set(map[netip.Addr]post{remote: {tentative: true, carriers: []int{2, 3}}}, nil, epoch)
	for i, p := range begin[0].pairs() {
		if g.free(remote) {
			t.Errorf("free after %d of 2 interfaces", i)
		}
		g.probing(p, begin[0].number, 0)
		g.sent(p, begin[0].number)
		g.listened(p, begin[0].number, 0, epoch)
	}
	if !g.free(remote) {
		t.Error("not free after all interfaces")
	}
}

// TestGuardRounds: what happens to a round that is over counts for nothing in the next.
func TestGuardRounds(t *testing.T) {
	g := newGuard(0, 1)
	posts := map[netip.Addr]post{vip: {tentative: true, carriers: []int{2}}}
	p := pair{vip, 2}
	_, first := g.set(posts, nil, epoch)
	_, second := g.set(posts, map[int]bool{2: true}, epoch)
	old, number := first[0].number, second[0].number
	if g.probing(p, old, 0) {
		t.Error("a probe of the old round is wanted")
	}
	g.sent(p, old)
	if next, _ := g.listened(p, old, 0, epoch); len(next) > 0 || g.free(vip) {
		t.Error("the old round ended")
	}
	if !g.probing(p, number, 0) {
		t.Error("a probe of the round is not wanted")
	}
	g.sent(p, old)
	if next, _ := g.listened(p, number, 0, epoch); g.free(vip) || len(next) != 1 || !next[0].at.Equal(epoch.Add(retrySpoiled)) {
		t.Errorf("a round in which nothing was sent ended: free %v, next %+v", g.free(vip), next)
	}
	stop, _ := g.set(map[netip.Addr]post{vip: {carriers: []int{2}}}, nil, epoch)
	if diff := cmp.Diff([]pair{p}, stop, cmp.AllowUnexported(pair{}), compareAddr); diff != "" {
		t.Errorf("stopped (-want +got):\n%s", diff)
	}
}

// TestProbeConflictAndInterfaces: a change of interfaces does not cut short the pause after a sighting.
func TestProbeConflictAndInterfaces(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.tentative(vip)
		l.sight("eth0", vip, stranger, responder.Claim)
		l.forget()
		l.pass(5 * time.Second)
		l.change("eth0", func(i *netif.Interface) { i.Epoch++ })
		l.pass(4999 * ms)
		l.wantSent()
		l.pass(ms)
		l.wantSent("probe " + vip.String() + " eth0")
	})
}

// TestProbeNotSent: a round whose probes did not all get out proves nothing.
func TestProbeNotSent(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.tentative(vip)
		l.pass(100 * ms)
		setErr := func(err error) { // without a word to the Announcer
			l.wire.Lock()
			defer l.wire.Unlock()
			l.errs["eth0"] = err
		}
		setErr(errors.New("no buffer space"))
		l.pass(100 * ms)
		setErr(nil)
		l.pass(300 * ms)
		l.wantFree()
		l.pass(1400 * ms)
		l.wantFree(vip)

		t.Log("and what was known before is too old")
		setErr(errors.New("no buffer space"))
		l.pass(10500 * ms)
		l.wantFree()
		setErr(nil)
		l.pass(3 * time.Second)
		l.wantFree(vip)
	})
}

// TestSightingsLost: so does a round in which more was heard than could be taken in.
func TestSightingsLost(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.tentative(vip)
		l.pass(100 * ms)
		l.mu.Lock() // Announcer's
		for range maxHeard + 10 {
			l.responders["eth0"].cfg.OnSighting(responder.Sighting{Addr: other, MAC: stranger})
		}
		l.mu.Unlock()
		l.pass(400 * ms)
		l.wantFree()
		l.pass(1400 * ms)
		l.wantFree(vip)
		if lost := l.cfg.Metrics.lost.Load(); lost < 5 || lost > 10 {
			t.Errorf("%d sightings lost, want 10 or a few less", lost)
		}
	})
}

// TestConflict: somebody else has an address that is held.
func TestConflict(t *testing.T) {
	inLab(t, Config{Refresh: time.Hour}, func(l *lab) {
		l.set(vip, remote)
		l.pass(time.Minute)
		l.forget()
		l.news.Store(0)
		begin := time.Now()
		l.sight("eth0", vip, stranger, responder.Claim)
		l.wantSent(vip.String() + " eth0") // the defence
		l.wantNews(1)
		want := []Conflict{{Address: vip, MAC: stranger, Interface: "eth0", Since: begin, Last: begin, Count: 1}}
		if diff := cmp.Diff(want, l.Conflicts(), compareAddr); diff != "" {
			t.Errorf("conflicts (-want +got):\n%s", diff)
		}

		text, err := json.Marshal(l.Conflicts())
		if want := `[{"address":"192.168.1.160","mac":"02:09:09:09:09:01","interface":"eth0",` +
			`"since":"2000-01-01T00:01:00Z","last":"2000-01-01T00:01:00Z","count":1}]`; string(text) != want || err != nil {
			t.Errorf("conflicts as JSON: %s, %v, want %s", text, err, want)
		}

		t.Log("defended once in ten seconds, on each interface")
		for i := range 99 {
			l.pass(100 * ms)
			l.sight("eth0", vip, []MAC{stranger, another}[i%2], responder.Claim)
		}
		l.wantSent()
		l.sight("eth1", remote, stranger, responder.Claim)
		l.sight("eth0", remote, stranger, responder.Claim)
		l.wantSent(remote.String()+" eth0", remote.String()+" eth1")
		l.pass(100 * ms)
		l.sight("eth0", vip, another, responder.Claim)
		l.wantSent(vip.String() + " eth0")
		l.wantNews(1)
		last := begin.Add(10 * time.Second)
		want[0].MAC, want[0].Last, want[0].Count = another, last, 101
		want = append(want, Conflict{
			Address: remote, MAC: stranger, Interface: "eth0", Since: last.Add(-100 * ms), Last: last.Add(-100 * ms), Count: 2,
		})
		if diff := cmp.Diff(want, l.State().Conflicts, compareAddr); diff != "" {
			t.Errorf("conflicts (-want +got):\n%s", diff)
		}

		t.Log("forgotten after five quiet minutes")
		l.pass(5*time.Minute - 101*ms)
		l.wantConflicts(vip.String()+" 02:09:09:09:09:02 eth0", remote.String()+" 02:09:09:09:09:01 eth0")
		l.pass(ms)
		l.wantConflicts(vip.String() + " 02:09:09:09:09:02 eth0")
		l.wantNews(1)
		l.pass(100 * ms)
		l.wantConflicts()
		l.wantNews(1)

		t.Log("or with the address")
		l.sight("eth0", vip, stranger, responder.Claim)
		l.set(remote)
		l.wantConflicts()
		l.sight("eth0", vip, stranger, responder.Claim)
		l.wantConflicts()
	})
}

// TestNoConflict: what does not make a conflict.
func TestNoConflict(t *testing.T) {
	type told struct {
		Addr netip.Addr
		Node string
	}
	var got []told
	cfg := Config{OnPeer: func(addr netip.Addr, node string) { got = append(got, told{addr, node}) }}
	inLab(t, cfg, func(l *lab) {
		l.SetPeers(map[MAC]string{peerMAC: "node2"})
		l.Set(map[netip.Addr]Announcement{vip: {}, other: {Tentative: true}})
		l.pass(time.Minute)
		l.forget()
		l.news.Store(0)

		t.Log("the node itself, by another interface")
		l.sight("eth0", vip, l.interfaces["eth1"].MAC, responder.Claim)
		l.sight("eth0", other, l.interfaces["eth1"].MAC, responder.Probe)
		t.Log("a peer that probes, or claims what nobody holds yet")
		l.sight("eth0", other, peerMAC, responder.Probe)
		l.sight("eth0", other, peerMAC, responder.Claim)
		t.Log("what was seen while the address was tentative")
		l.sight("eth0", vip, stranger, responder.Probe)
		t.Log("an interface that doesn't carry it")
		l.sight("eth1", vip, stranger, responder.Claim)
		if len(got) > 0 {
			t.Errorf("OnPeer was called: %v", got)
		}

		t.Log("a peer that claims what is held: five times a second at most")
		for range 10 {
			l.sight("eth0", vip, peerMAC, responder.Claim)
			l.pass(50 * ms)
		}
		if diff := cmp.Diff([]told{{vip, "node2"}, {vip, "node2"}, {vip, "node2"}}, got, compareAddr); diff != "" {
			t.Errorf("OnPeer (-want +got):\n%s", diff)
		}
		l.pass(10 * time.Second)
		l.wantFree(other)
		l.wantConflicts()
		l.wantNews(0)
		for _, sent := range l.forget() {
			if sent == vip.String()+" eth0" {
				t.Error("defended")
			}
		}
	})
}

// TestSetPeers: a stranger turns out to be a peer.
func TestSetPeers(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.Set(map[netip.Addr]Announcement{vip: {}, other: {Tentative: true}, remote: {}})
		l.pass(time.Second)
		l.sight("eth0", vip, peerMAC, responder.Claim)
		l.sight("eth0", other, peerMAC, responder.Claim)
		l.sight("eth0", remote, stranger, responder.Claim)
		l.pass(time.Second)
		l.news.Store(0)
		l.SetPeers(map[MAC]string{peerMAC: "node2"})
		l.SetPeers(map[MAC]string{peerMAC: "node2"})
		l.wantConflicts(remote.String() + " 02:09:09:09:09:01 eth0")
		l.wantNews(1)
		l.pass(450 * ms) // it is not waited for any more
		l.wantFree(other)
	})
}

func TestConflictMemory(t *testing.T) {
	inLab(t, Config{ConflictMemory: time.Second}, func(l *lab) {
		l.Set(map[netip.Addr]Announcement{vip: {}, other: {Tentative: true}})
		l.sight("eth0", vip, stranger, responder.Claim)
		l.sight("eth0", other, stranger, responder.Claim)
		l.pass(time.Second)
		l.wantConflicts(other.String() + " 02:09:09:09:09:01 eth0") // until it is known that it is free
		l.pass(9450 * ms)
		l.wantConflicts()
	})
}

func TestConflictMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	inLab(t, Config{Metrics: NewMetrics(reg)}, func(l *lab) {
		l.Set(map[netip.Addr]Announcement{vip: {}, other: {Tentative: true}, vip6: {}})
		l.pass(time.Second)
		l.sight("eth0", vip, stranger, responder.Claim)
		l.sight("eth0", vip, stranger, responder.Claim)
		l.sight("eth0", other, stranger, responder.Probe)
		want := `
			# HELP invar_layer2_conflicts Addresses that a host has that is no peer.
			# TYPE invar_layer2_conflicts gauge
			invar_layer2_conflicts 2
			# HELP invar_layer2_defences_total Announcements because another host claimed an address that this node holds.
			# TYPE invar_layer2_defences_total counter
			invar_layer2_defences_total 1
			# HELP invar_layer2_foreign_sightings_total Frames in which a host that is no peer claimed an address or probed for it.
			# TYPE invar_layer2_foreign_sightings_total counter
			invar_layer2_foreign_sightings_total{ip="192.168.1.160"} 2
			invar_layer2_foreign_sightings_total{ip="192.168.1.161"} 1
			invar_layer2_foreign_sightings_total{ip="2001:db8::160"} 0
			# HELP invar_layer2_probes_sent_total Frames sent to find out whether anyone has an address.
			# TYPE invar_layer2_probes_sent_total counter
			invar_layer2_probes_sent_total 3
			# HELP invar_layer2_sightings_lost_total Sightings that came faster than they could be looked at.
			# TYPE invar_layer2_sightings_lost_total counter
			invar_layer2_sightings_lost_total 0
		`
		err := testutil.GatherAndCompare(reg, strings.NewReader(want), "invar_layer2_conflicts", "invar_layer2_defences_total",
			"invar_layer2_foreign_sightings_total", "invar_layer2_probes_sent_total", "invar_layer2_sightings_lost_total")
		if err != nil {
			t.Error(err)
		}
		l.set(vip6)
		if n, err := testutil.GatherAndCount(reg, "invar_layer2_foreign_sightings_total"); n != 1 || err != nil {
			t.Errorf("%d series by ip, want 1 (%v)", n, err)
		}
		if got := testutil.ToFloat64(gauge{l.cfg.Metrics}); got != 0 {
			t.Errorf("%v conflicts without the addresses", got)
		}
		problems, err := testutil.GatherAndLint(reg)
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "invar_") {
				t.Error("lint:", p)
			}
		}
		if err != nil {
			t.Error(err)
		}
	})
}

// gauge is the one metric of conflicts.
type gauge struct{ *Metrics }

func (g gauge) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(g.inConflict, prometheus.GaugeValue, float64(g.conflicts.Load()))
}

func (g gauge) Describe(ch chan<- *prometheus.Desc) { ch <- g.inConflict }

var compareAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// lan is a fake LAN whose hosts answer the probes of a lab.
type lan struct {
	*lab
	rng     *rand.Rand
	delays  *rand.Rand               // guarded by the lab's wire
	foreign map[netip.Addr]time.Time // who has it, since when
}

// onProbe answers a probe within 100 ms, as a slow host does. The caller holds the lab's wire.
func (n *lan) onProbe(name string, addr netip.Addr) {
	delay := time.Duration(n.delays.IntN(100)) * ms
	time.AfterFunc(delay, func() {
		n.wire.Lock()
		_, has := n.foreign[addr]
		n.wire.Unlock()
		if r := n.responders[name]; has && !r.closed() {
			r.cfg.OnSighting(responder.Sighting{Addr: addr, MAC: stranger})
		}
	})
}

// TestProbeRandom does random things to a LAN, and compares what is free with who has what.
func TestProbeRandom(t *testing.T) {
	for seed := range uint64(20) {
		inLab(t, Config{}, func(l *lab) {
			n := &lan{lab: l, rng: rand.New(rand.NewPCG(seed, 3)), delays: rand.New(rand.NewPCG(seed, 4)), foreign: make(map[netip.Addr]time.Time)}
			l.onProbe = n.onProbe
			addrs := []netip.Addr{vip, other, remote, vip6}
			desired := make(map[netip.Addr]Announcement)
			steps := []func(){
				func() {
					addr := addrs[n.rng.IntN(len(addrs))]
					desired[addr] = Announcement{Tentative: n.rng.IntN(4) > 0}
					l.Set(desired)
				},
				func() {
					delete(desired, addrs[n.rng.IntN(len(addrs))])
					l.Set(desired)
				},
				func() {
					addr := addrs[n.rng.IntN(len(addrs))]
					n.wire.Lock()
					defer n.wire.Unlock()
					if _, has := n.foreign[addr]; has {
						delete(n.foreign, addr)
					} else {
						n.foreign[addr] = time.Now()
					}
				},
				func() {
					l.change([]string{"eth0", "eth1"}[n.rng.IntN(2)], func(i *netif.Interface) {
						i.Skip = []netif.Skip{netif.Eligible, netif.Eligible, netif.SkipDown}[n.rng.IntN(3)]
					})
				},
				func() { l.change("eth0", func(i *netif.Interface) { i.Epoch++ }) },
				func() {
					l.fail([]string{"eth0", "eth1"}[n.rng.IntN(2)], []error{nil, nil, errors.New("broken")}[n.rng.IntN(3)])
				},
			}
			for range 60 {
				steps[n.rng.IntN(len(steps))]()
				l.pass(time.Duration(n.rng.IntN(1<<n.rng.IntN(15))) * ms)
				for addr, since := range n.foreign {
					if l.Free(addr) && time.Since(since) > 12*time.Second {
						t.Fatalf("seed %d: %v is free, though somebody has it since %v", seed, addr, time.Since(since))
					}
				}
				if c := l.Conflicts(); len(c) > len(desired) {
					t.Fatalf("seed %d: %d conflicts for %d addresses", seed, len(c), len(desired))
				}
			}
			maps.DeleteFunc(desired, func(_ netip.Addr, a Announcement) bool { return !a.Tentative })
			l.Set(desired)
			l.pass(3 * time.Minute)
			for addr := range desired {
				carried, _ := l.CanCarry(addr, Announcement{})
				_, has := n.foreign[addr]
				if got, want := l.Free(addr), carried && !has; got != want {
					t.Errorf("seed %d: Free(%v) = %v, want %v", seed, addr, got, want)
				}
				conflict := slices.ContainsFunc(l.Conflicts(), func(c Conflict) bool { return c.Address == addr })
				if carried && conflict != has {
					t.Errorf("seed %d: conflict about %v = %v, want %v", seed, addr, conflict, has)
				}
			}
		})
	}
}
