package layer2

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	vip    = netip.MustParseAddr("192.168.1.160")
	other  = netip.MustParseAddr("192.168.1.161")
	vip6   = netip.MustParseAddr("2001:db8::160")
	remote = netip.MustParseAddr("203.0.113.9")
)

// lab is an Announcer over fake interfaces and responders, in a bubble with its own clock.
type lab struct {
	*Announcer
	t          *testing.T
	interfaces map[string]netif.Interface
	responders map[string]*fakeResponder // the last one opened on each interface
	changes    atomic.Int64              // calls of OnChange
	news       atomic.Int64              // calls of OnNews
	cancel     context.CancelFunc
	done       chan error

	wire    sync.Mutex                         // guards the rest
	sent    []string                           // "address interface", with "probe " before that for probes
	errs    map[string]error                   // of the responders, by interface
	onProbe func(name string, addr netip.Addr) // if set
}

// forget returns what was announced since the last call.
func (l *lab) forget() []string {
	l.wire.Lock()
	defer l.wire.Unlock()
	sent := l.sent
	l.sent = nil
	slices.Sort(sent)
	return sent
}

// fail makes the responder of an interface fail, or work again if err is nil.
func (l *lab) fail(name string, err error) {
	l.wire.Lock()
	l.errs[name] = err
	l.wire.Unlock()
	l.responders[name].cfg.OnState()
	synctest.Wait()
}

// fakeResponder remembers what it is told.
type fakeResponder struct {
	lab *lab
	cfg responder.Config

	mu   sync.Mutex
	held map[netip.Addr]responder.Entry
	done bool
}

func (r *fakeResponder) Set(addrs map[netip.Addr]responder.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = maps.Clone(addrs)
}

func (r *fakeResponder) Announce(addr netip.Addr) (int, error) { return r.send(addr, false, "") }

func (r *fakeResponder) Probe(addr netip.Addr) (int, error) { return r.send(addr, true, "probe ") }

func (r *fakeResponder) send(addr netip.Addr, tentative bool, prefix string) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := r.held[addr]
	if err := r.Err(); err != nil || entry.Counter == nil || entry.Tentative != tentative || r.done {
		return 0, err
	}
	r.lab.wire.Lock()
	defer r.lab.wire.Unlock()
	r.lab.sent = append(r.lab.sent, prefix+addr.String()+" "+r.cfg.Interface.Name)
	if tentative {
		r.cfg.Stats.Probes.Add(1)
		if r.lab.onProbe != nil {
			r.lab.onProbe(r.cfg.Interface.Name, addr)
		}
	}
	return 1, nil
}

func (r *fakeResponder) Err() error {
	if r.lab == nil {
		return nil
	}
	r.lab.wire.Lock()
	defer r.lab.wire.Unlock()
	return r.lab.errs[r.cfg.Interface.Name]
}

func (r *fakeResponder) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
}

func (r *fakeResponder) closed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// inLab runs body with an Announcer that runs, on eth0 in 192.168.1.0/24 and eth1 in 10.0.0.0/8.
func inLab(t *testing.T, cfg Config, body func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, interfaces: make(map[string]netif.Interface), responders: make(map[string]*fakeResponder)}
		l.errs = make(map[string]error)
		cfg.OnChange = func() {
			l.changes.Add(1)
			l.CanCarry(vip, Announcement{}) // no lock is held
			l.State()
		}
		cfg.OnNews = func() {
			l.news.Add(1)
			l.State()
		}
		l.Announcer = New(cfg)
		l.watch = func(ctx context.Context) error { <-ctx.Done(); return nil }
		l.open = func(cfg responder.Config) answerer {
			r := &fakeResponder{lab: l, cfg: cfg}
			l.responders[cfg.Interface.Name] = r
			return r
		}
		l.run()
		body(l)
		l.stop()
	})
}

func (l *lab) run() {
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(l.t.Context())
	l.done = make(chan error)
	go func() { l.done <- l.Run(ctx) }()
	synctest.Wait()
	l.put(eth(2, "eth0", "192.168.1.5/24"), eth(3, "eth1", "10.0.0.5/8"))
}

func (l *lab) stop() {
	l.cancel()
	if err := <-l.done; err != nil {
		l.t.Errorf("Run returned %v", err)
	}
}

func eth(index int, name string, prefixes ...string) netif.Interface {
	i := netif.Interface{Index: index, Name: name, MAC: netif.MAC{2, 5: byte(index)}, Carrier: true}
	for _, p := range prefixes {
		i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(p))
	}
	return i
}

// put adds or changes interfaces.
func (l *lab) put(interfaces ...netif.Interface) {
	for _, i := range interfaces {
		l.interfaces[i.Name] = i
	}
	l.setInterfaces(netif.NewSnapshot(slices.Collect(maps.Values(l.interfaces))...))
	synctest.Wait()
}

// change edits one interface.
func (l *lab) change(name string, edit func(*netif.Interface)) {
	i := l.interfaces[name]
	edit(&i)
	l.put(i)
}

// set sets the desired addresses, all announced by subnet.
func (l *lab) set(addrs ...netip.Addr) {
	desired := make(map[netip.Addr]Announcement)
	for _, addr := range addrs {
		desired[addr] = Announcement{}
	}
	l.Set(desired)
}

// pass lets time go by, and what it brings.
func (l *lab) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantHeld compares what the open responders hold.
func (l *lab) wantHeld(want map[string][]netip.Addr) {
	l.t.Helper()
	got := make(map[string][]netip.Addr)
	for name, r := range l.responders {
		if !r.closed() && len(r.held) > 0 {
			got[name] = slices.SortedFunc(maps.Keys(r.held), netip.Addr.Compare)
		}
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		l.t.Errorf("held addresses (-want +got):\n%s", diff)
	}
}

// wantSent compares what was announced since the last call, within no time.
func (l *lab) wantSent(want ...string) {
	l.t.Helper()
	synctest.Wait()
	slices.Sort(want)
	if got := l.forget(); !slices.Equal(got, want) {
		l.t.Errorf("announced %q, want %q", got, want)
	}
}

func TestSet(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.set(vip, remote)
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip, remote}, "eth1": {remote}})
		l.wantSent(vip.String()+" eth0", remote.String()+" eth0", remote.String()+" eth1")

		l.set(vip, remote)
		l.wantSent() // nothing is new

		l.set(vip, other)
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip, other}})
		l.wantSent(other.String() + " eth0")

		l.Set(map[netip.Addr]Announcement{vip: {Interfaces: []string{"eth1"}}, vip6: {}})
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip6}, "eth1": {vip, vip6}})
		l.wantSent(vip.String()+" eth1", vip6.String()+" eth0", vip6.String()+" eth1")

		l.set()
		l.wantHeld(map[string][]netip.Addr{})
		l.pass(time.Hour)
		l.wantSent()
	})
}

func TestSetBeforeRun(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.stop()
		l.wantHeld(map[string][]netip.Addr{})
		l.set(vip)
		if ok, reason := l.CanCarry(vip, Announcement{}); ok || reason == "" || l.Ready() {
			t.Errorf("CanCarry = %v, %q, Ready = %v while it doesn't run", ok, reason, l.Ready())
		}
		l.run()
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip}})
		l.wantSent(vip.String() + " eth0")
	})
}

func TestInterfacesChange(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.set(vip, remote)
		l.wantSent(vip.String()+" eth0", remote.String()+" eth0", remote.String()+" eth1")
		first := l.responders["eth0"]

		t.Log("a new interface holds what it should at once")
		l.put(eth(4, "eth2"))
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip, remote}, "eth1": {remote}, "eth2": {remote}})
		l.wantSent(remote.String() + " eth2")

		t.Log("link down: closed, and nobody else takes the subnet's address")
		l.change("eth0", func(i *netif.Interface) { i.Skip = netif.SkipNoCarrier })
		if !first.closed() {
			t.Error("the responder of an interface without carrier is open")
		}
		l.wantHeld(map[string][]netip.Addr{"eth1": {remote}, "eth2": {remote}})
		l.wantSent()

		t.Log("link up: a new responder, announced again")
		l.change("eth0", func(i *netif.Interface) { i.Skip = netif.Eligible })
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip, remote}, "eth1": {remote}, "eth2": {remote}})
		l.wantSent(vip.String()+" eth0", remote.String()+" eth0")

		t.Log("a link that was down for a moment: announced again by the same responder")
		second := l.responders["eth0"]
		l.change("eth0", func(i *netif.Interface) { i.Epoch++ })
		l.wantSent(vip.String()+" eth0", remote.String()+" eth0")
		if l.responders["eth0"] != second {
			t.Error("the responder was opened again")
		}

		t.Log("another MAC: a new responder with it")
		l.change("eth0", func(i *netif.Interface) { i.MAC[1] = 9 })
		l.wantSent(vip.String()+" eth0", remote.String()+" eth0")
		if got := l.responders["eth0"].cfg.Interface.MAC; !second.closed() || got[1] != 9 {
			t.Errorf("responder has MAC %x", got)
		}

		t.Log("another address in the subnet: nothing happens")
		l.change("eth0", func(i *netif.Interface) {
			i.Prefixes = append(i.Prefixes, netip.MustParsePrefix("192.168.1.6/24"))
		})
		l.wantSent()

		t.Log("the subnet appears on another interface as well: still one MAC")
		l.change("eth2", func(i *netif.Interface) { i.Prefixes = []netip.Prefix{netip.MustParsePrefix("192.168.1.7/24")} })
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip, remote}, "eth1": {remote}, "eth2": {remote}})
		l.wantSent()
	})
}

// TestQuiet: a quiet address is answered, but neither announced nor defended.
func TestQuiet(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.Set(map[netip.Addr]Announcement{vip: {Quiet: true}})
		l.wantHeld(map[string][]netip.Addr{"eth0": {vip}})
		l.sight("eth0", vip, stranger, responder.Claim)
		l.Reannounce(vip)
		l.change("eth0", func(i *netif.Interface) { i.Epoch++ })
		l.pass(time.Hour)
		l.wantSent()
		if n := l.cfg.Metrics.defences.Load(); n != 0 {
			t.Errorf("counted %d defences", n)
		}
		l.set(vip)
		l.wantSent(vip.String() + " eth0")
	})
}

func TestReannounce(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.set(vip, other)
		l.pass(20 * time.Second)
		l.forget()
		l.Reannounce(vip, remote)
		l.wantSent(vip.String() + " eth0")
		l.pass(20 * time.Second)
		if got, want := len(l.forget()), len(burst)-1; got != want {
			t.Errorf("%d more announcements, want %d", got, want)
		}
	})
}

// TestDefend: what a peer announces too is announced once, and again only after RFC 5227's DEFEND_INTERVAL. What is quiet is not.
func TestDefend(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.Set(map[netip.Addr]Announcement{vip: {}, other: {Quiet: true}})
		l.pass(20 * time.Second)
		l.forget()
		for range 3 {
			l.Defend(vip)
			l.Defend(other)
			l.Defend(remote)
		}
		l.wantSent(vip.String() + " eth0")
		l.pass(defendInterval - time.Second)
		l.Defend(vip)
		l.wantSent()
		l.pass(time.Second)
		l.Defend(vip)
		l.wantSent(vip.String() + " eth0")
		if n := l.cfg.Metrics.defences.Load(); n != 0 {
			t.Errorf("counted %d defences, though no foreign host has the address", n)
		}
	})
}

func TestRefresh(t *testing.T) {
	inLab(t, Config{Refresh: 10 * time.Second}, func(l *lab) {
		l.set(vip)
		l.pass(10 * time.Second)
		l.forget()
		l.pass(100 * time.Second)
		if n := len(l.forget()); n < 10 || n > 13 {
			t.Errorf("%d announcements in 100 s, want one each 8 to 10 s", n)
		}
	})
}

func TestResponderFails(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.set(vip)
		synctest.Wait()
		l.forget()
		before := l.changes.Load()
		denied := errors.New("operation not permitted")
		l.fail("eth0", denied)
		ok, reason := l.CanCarry(vip, Announcement{})
		if ok || reason != "interface eth0: operation not permitted" {
			t.Errorf("CanCarry = %v, %q", ok, reason)
		}
		if ok, _ := l.CanCarry(remote, Announcement{}); !ok {
			t.Error("eth1 can't carry what all interfaces may")
		}
		if l.changes.Load() != before+1 || !l.Ready() {
			t.Errorf("%d changes, want 1; Ready = %v", l.changes.Load()-before, l.Ready())
		}
		l.fail("eth1", denied)
		if l.Ready() {
			t.Error("ready without a working interface")
		}
		l.fail("eth0", nil)
		l.wantSent(vip.String() + " eth0") // the socket was deaf for a while: others may have been asked
		if ok, reason := l.CanCarry(vip, Announcement{}); !ok {
			t.Errorf("can't carry: %s", reason)
		}
	})
}

func TestOnChange(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		if l.changes.Load() != 1 {
			t.Errorf("%d changes after the first scan, want 1", l.changes.Load())
		}
		l.set(vip)
		synctest.Wait()
		if l.changes.Load() != 1 {
			t.Error("Set changes what the interfaces can carry")
		}
		l.change("eth0", func(i *netif.Interface) { i.Skip = netif.SkipDown })
		if l.changes.Load() != 2 {
			t.Errorf("%d changes after an interface went down, want 2", l.changes.Load())
		}
	})
}

func TestState(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.change("eth1", func(i *netif.Interface) { i.Skip, i.Carrier = netif.SkipNoCarrier, false })
		l.set(vip, netip.MustParseAddr("10.0.0.9"))
		l.counters[vip].Requests.Add(3)
		l.counters[vip].Answers.Add(2)
		l.counters[vip].Announcements.Add(1)
		got, err := json.MarshalIndent(l.State(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want := `{
  "interfaces": [
    {
      "index": 2,
      "name": "eth0",
      "mac": "02:00:00:00:00:02",
      "prefixes": [
        "192.168.1.5/24"
      ],
      "carrier": true
    },
    {
      "index": 3,
      "name": "eth1",
      "mac": "02:00:00:00:00:03",
      "prefixes": [
        "10.0.0.5/8"
      ],
      "carrier": false,
      "skip": "no carrier"
    }
  ],
  "addresses": [
    {
      "address": "10.0.0.9",
      "reason": "interface eth1 in its subnet: no carrier",
      "requests": 0,
      "answers": 0,
      "announcements": 0
    },
    {
      "address": "192.168.1.160",
      "interfaces": [
        "eth0"
      ],
      "requests": 3,
      "answers": 2,
      "announcements": 1
    }
  ]
}`
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("state (-want +got):\n%s", diff)
		}
	})
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	inLab(t, Config{Metrics: NewMetrics(reg)}, func(l *lab) {
		l.set(vip, vip6)
		l.counters[vip].Requests.Add(3)
		l.counters[vip].Answers.Add(2)
		l.counters[vip6].Announcements.Add(7)
		l.responders["eth0"].cfg.Stats.Reopened.Add(1)
		want := `
			# HELP invar_layer2_interfaces Network interfaces that can carry announcements.
			# TYPE invar_layer2_interfaces gauge
			invar_layer2_interfaces 2
			# HELP invar_layer2_sockets_reopened_total Packet sockets that failed and were opened again.
			# TYPE invar_layer2_sockets_reopened_total counter
			invar_layer2_sockets_reopened_total 1
			# HELP metallb_layer2_gratuitous_sent Number of gratuitous layer2 packets sent for owned IPs.
			# TYPE metallb_layer2_gratuitous_sent counter
			metallb_layer2_gratuitous_sent{ip="192.168.1.160"} 0
			metallb_layer2_gratuitous_sent{ip="2001:db8::160"} 7
			# HELP metallb_layer2_requests_received Number of layer2 requests received for owned IPs.
			# TYPE metallb_layer2_requests_received counter
			metallb_layer2_requests_received{ip="192.168.1.160"} 3
			metallb_layer2_requests_received{ip="2001:db8::160"} 0
			# HELP metallb_layer2_responses_sent Number of layer2 responses sent for owned IPs in response to requests.
			# TYPE metallb_layer2_responses_sent counter
			metallb_layer2_responses_sent{ip="192.168.1.160"} 2
			metallb_layer2_responses_sent{ip="2001:db8::160"} 0
		`
		names := []string{
			"metallb_layer2_requests_received", "metallb_layer2_responses_sent", "metallb_layer2_gratuitous_sent",
			"invar_layer2_interfaces", "invar_layer2_sockets_reopened_total",
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
		l.set(vip)
		if n, err := testutil.GatherAndCount(reg, names[:3]...); n != 3 || err != nil {
			t.Errorf("%d series by ip after one of two addresses was withdrawn, want 3 (%v)", n, err)
		}
		if got := l.counters[vip].Requests.Load(); got != 3 {
			t.Errorf("the counter of an address that stays went from 3 to %d", got)
		}
		if problems, err := testutil.GatherAndLint(reg, "invar_layer2_frames_dropped_total"); len(problems) > 0 || err != nil {
			t.Errorf("lint: %v %v", problems, err)
		}
	})
}

// BenchmarkSet1000 is the cost of a change in what a node with a thousand addresses announces, sockets apart.
func BenchmarkSet1000(b *testing.B) {
	a := New(Config{})
	a.running = true
	a.open = func(responder.Config) answerer { return &fakeResponder{} }
	a.setInterfaces(netif.NewSnapshot(eth(2, "eth0", "192.168.1.5/24"), eth(3, "eth1", "10.0.0.5/8")))
	desired := make(map[netip.Addr]Announcement)
	for i := range 1000 {
		desired[netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})] = Announcement{}
	}
	for b.Loop() {
		a.Set(desired)
	}
}
