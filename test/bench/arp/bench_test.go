package arp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/netns"
)

// resultEnv names the file that the result is written to.
const resultEnv = "INVAR_BENCH_ARP"

// result is the line of JSON. Times are in microseconds.
type result struct {
	P50       float64 `json:"ours_p50_us"`
	P99       float64 `json:"ours_p99_us"`
	KernelP50 float64 `json:"kernel_p50_us"`
	// Ratio is that of the two medians.
	Ratio float64 `json:"ratio_p50"`
	// ForeignCPU is what the Responder adds to the CPU time that a request for somebody else's address takes this node.
	ForeignCPU float64 `json:"foreign_cpu_us_per_frame"`
	Allocs     float64 `json:"allocs_per_answer"`
}

// Targets, which a machine may miss.
const (
	targetP50     = 18
	targetForeign = 0.1
	targetAllocs  = 0
)

func (r result) missed() []string {
	var out []string
	for _, t := range []struct {
		what        string
		got, target float64
	}{
		{"ours_p50_us", r.P50, targetP50},
		{"foreign_cpu_us_per_frame", r.ForeignCPU, targetForeign},
		{"allocs_per_answer", r.Allocs, targetAllocs},
	} {
		if t.got > t.target {
			out = append(out, fmt.Sprintf("%s is %v, the target is %v", t.what, t.got, t.target))
		}
	}
	return out
}

// effort is how much is measured.
type effort struct {
	rounds, requests int // requests in a round, of each kind
	bursts           int // of foreign frames, on each cable and for each place of the Responder
}

func TestMain(m *testing.M) {
	if os.Getenv(processEnv) != "" {
		os.Exit(serve(os.Stdin, os.Stdout))
	}
	netns.Main(m)
}

// TestBench measures. Without a file for the result it only looks whether that works.
func TestBench(t *testing.T) {
	netns.Require(t)
	file := os.Getenv(resultEnv)
	if file == "" {
		res := measure(t, effort{rounds: 2, requests: 100, bursts: 20})
		if res.P50 <= 0 || res.P99 < res.P50 || res.KernelP50 <= 0 || res.Ratio <= 0 || res.ForeignCPU < 0 {
			t.Errorf("the result makes no sense: %+v", res)
		}
		return
	}
	res := measure(t, effort{rounds: 10, requests: 2000, bursts: 5000})
	line, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(line, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, m := range res.missed() {
		progress("warning: %s", m)
	}
}

// cable is a link and what is at its ends.
type cable struct {
	link         string
	kernel, host netip.Addr // the one that the kernel here has, and the one that the client has
	client       *client
}

// bench is two hosts with two cables between them.
type bench struct {
	tb     testing.TB
	peer   *netns.Peer
	cables [2]*cable
	remote *process // with the Responder
}

func newBench(tb testing.TB) *bench {
	b := &bench{tb: tb, peer: netns.NewPeer(tb)}
	for i := range b.cables {
		c := &cable{
			link:   fmt.Sprintf("lan%d", i),
			kernel: netip.AddrFrom4([4]byte{192, 168, byte(i), 1}),
			host:   netip.AddrFrom4([4]byte{192, 168, byte(i), 99}),
		}
		netns.Veth(tb, b.peer, c.link)
		if err := netns.AddAddr(c.link, c.kernel.String()+"/24"); err != nil {
			tb.Fatal(err)
		}
		c.client = newClient(tb, b.peer, c.link, c.host)
		b.cables[i] = c
	}
	b.remote = startProcess(tb)
	return b
}

func measure(tb testing.TB, e effort) result {
	b := newBench(tb)
	lat := b.latency(e)
	foreign := b.foreign(e)
	return result{
		P50: micros(lat.p50, 2), P99: micros(lat.p99, 2), KernelP50: micros(lat.kernel, 2),
		Ratio:      round(float64(lat.p50)/float64(lat.kernel), 2),
		ForeignCPU: micros(max(0, foreign), 3),
		Allocs:     round(lat.allocs, 2),
	}
}

// The addresses that are held: a third of a pool, scattered over it, as three nodes share it. The loop's is none of them.
var (
	firstHeld = netip.MustParseAddr("10.50.0.0")
	loopAddr  = netip.MustParseAddr("10.60.0.0")
)

const (
	numHeld  = 1000
	heldStep = 3
)

// every returns n addresses, a step apart.
func every(first netip.Addr, n, step int) []netip.Addr {
	out := make([]netip.Addr, 0, n)
	for range n {
		out = append(out, first)
		for range step {
			first = first.Next()
		}
	}
	return out
}

// held returns the addresses that the Responder holds.
func held() []netip.Addr { return every(firstHeld, numHeld, heldStep) }

// latencies are those of all rounds.
type latencies struct {
	p50, p99, kernel time.Duration
	allocs           float64 // per answer of the Responder
}

// latency asks in rounds for an address of the Responder, for one of the kernel, and for the bare loop's.
func (b *bench) latency(e effort) latencies {
	c := b.cables[0]
	b.remote.open(openResponder, c.link, held()...)
	startProcess(b.tb).open(openLoop, c.link, loopAddr)
	ours, kernel, loop := &sampler{addr: held()[numHeld/2]}, &sampler{addr: c.kernel}, &sampler{addr: loopAddr}
	samplers := []*sampler{ours, kernel, loop}
	for _, s := range samplers {
		s.warmUp(c.client)
	}
	first := b.remote.report()
	before := b.remote.report()
	for i := range e.rounds {
		for j := range samplers { // which one is the first changes from round to round
			samplers[(i+j)%len(samplers)].round(c.client, e.requests)
		}
	}
	after := b.remote.report()
	for i, name := range []string{"ours", "kernel", "bare loop"} {
		progress("%s: %s", name, samplers[i].summary())
	}
	answers := after.Answers - before.Answers
	// An answer is counted after it was sent: the last one before each report may be on the wire and not counted yet.
	if want := uint64(e.rounds * e.requests); answers+1 < want || answers > want+1 {
		b.tb.Fatalf("the Responder answered %d requests, want %d", answers, want)
	}
	perReport := before.Mallocs - first.Mallocs
	return latencies{
		p50: percentile(ours.all, 50), p99: percentile(ours.all, 99), kernel: percentile(kernel.all, 50),
		allocs: float64(max(perReport, after.Mallocs-before.Mallocs)-perReport) / float64(answers),
	}
}

// foreign returns how much more CPU time a request for another host's address takes when there is a Responder.
func (b *bench) foreign(e effort) time.Duration {
	hosts := func(c *cable) []netip.Addr { return every(c.kernel.Next(), 90, 1) }
	cost := b.extra("requests for other hosts of the LAN", openResponder, hosts, e)
	b.extra("the same, and a socket that passes nothing", openDeaf, hosts, e)
	b.extra("the same, and a socket without a filter", openPlain, hosts, e)
	// The filter has no room for so many single addresses, and passes what lies between them.
	others := func(*cable) []netip.Addr { return every(firstHeld.Next(), numHeld, heldStep) }
	b.extra("requests for addresses that other nodes hold", openResponder, others, e)
	return cost
}

// extra sends requests for the given addresses on both cables, with a Responder or another kind of listener on one and then
// on the other. It returns how much more a frame costs where the listener is: the mean of the two, since one cable costs more
// than the other by itself, by more than what is measured.
func (b *bench) extra(name string, k kind, addrs func(*cable) []netip.Addr, e effort) time.Duration {
	var sum time.Duration
	for i, with := range b.cables {
		without := b.cables[1-i]
		b.remote.open(k, with.link, held()...)
		if k == openResponder {
			with.client.ask(held()[0]) // it works
		}
		before := b.remote.report().CPU
		f := runFlood(newTarget(with.client, addrs(with)), newTarget(without.client, addrs(without)), e.bursts)
		own := (b.remote.report().CPU - before) / time.Duration(e.bursts*burst)
		progress("%s, on %s: %s, and %s in the process", name, with.link, f.summary(), text(own))
		if f.rate() < 0.9*burst*float64(time.Second/interval) {
			progress("warning: the machine is too busy to keep the pace")
		}
		sum += percentile(f.differences, 50) + own
	}
	progress("%s: %s us each", name, text(sum/2))
	return sum / 2
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-arp: "+format+"\n", args...)
}
