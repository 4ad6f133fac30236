//go:build e2e

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// calm is for how long nothing may fail before a change, and after it.
const calm = 2 * time.Second

// services makes one Service of each kind that matters here, waits until each is served, and returns their addresses.
func services(t *testing.T) map[string]netip.Addr {
	t.Helper()
	lab.Create(t, "web")
	lab.WantAddresses(t, "web", "192.168.1.160")
	lab.Create(t, "local", clustertest.Local)
	lab.WantAddresses(t, "local", "192.168.1.161")
	lab.Create(t, "asked", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.168.1.165" })
	lab.WantAddresses(t, "asked", "192.168.1.165")
	lab.Create(t, "shares", shares(80))
	lab.WantAddresses(t, "shares", "192.168.1.162")
	lab.Create(t, "shared", shares(81), func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.168.1.162" })
	lab.WantAddresses(t, "shared", "192.168.1.162")
	addrs := map[string]netip.Addr{}
	for name, addr := range map[string]string{
		"web": "192.168.1.160", "local": "192.168.1.161", "asked": "192.168.1.165", "shares": "192.168.1.162",
	} {
		lab.WantHTTP(t, addr)
		lab.WantHolder(t, addr)
		addrs[name] = netip.MustParseAddr(addr)
	}
	return addrs
}

// shares lets a Service with that port share its address.
func shares(port int32) clustertest.Option {
	return func(s *corev1.Service) {
		s.Annotations = map[string]string{"metallb.universe.tf/allow-shared-ip": "together"}
		s.Spec.Ports[0].Port = port
	}
}

// wantKept waits until every Service shows the address that it had, and one node answers for it.
func wantKept(t *testing.T, addrs map[string]netip.Addr) {
	t.Helper()
	for name, addr := range addrs {
		lab.WantAddresses(t, name, addr.String())
		lab.WantHTTP(t, addr.String())
		lab.WantHolder(t, addr.String())
	}
	lab.WantAddresses(t, "shared", "192.168.1.162")
}

// watch is what the host on the LAN sees of the addresses, and how it fares with the API server, in which no release has a part.
type watch struct {
	begin   time.Time
	control *cluster.Prober
	of      map[string]watched
}

type watched struct {
	prober *cluster.Prober
	asker  *cluster.Asker
}

// observe begins to watch and waits until nothing fails.
func observe(t *testing.T, addrs map[string]netip.Addr) *watch {
	t.Helper()
	api, err := lab.Host("control-plane")
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{of: map[string]watched{}, control: lab.Probe(cluster.Client, netip.AddrPortFrom(api.IPv4, 6443))}
	for name, addr := range addrs {
		asker, err := lab.Ask(cluster.Client, addr)
		if err != nil {
			t.Fatal(err)
		}
		w.of[name] = watched{lab.Probe(cluster.Client, netip.AddrPortFrom(addr, 80)), asker}
	}
	w.quiet(t, time.Now())
	w.begin = time.Now()
	return w
}

// quiet waits until connections have succeeded for as long as calm, since the given time.
func (w *watch) quiet(t *testing.T, since time.Time) {
	t.Helper()
	for name, one := range w.of {
		clustertest.Eventually(t, "connections to "+name+" succeed", func(context.Context) error {
			now := time.Now()
			if gap, _ := cluster.Outage(one.prober.Since(now.Add(-calm))); gap > 0 || now.Sub(since) < calm {
				return fmt.Errorf("failed for %s", gap)
			}
			return nil
		})
	}
}

// seen is what was seen of one address.
type seen struct {
	failed  int           // connections that failed
	resets  int           // of these, those that were reset
	outage  time.Duration // the longest time in which all failed
	silence time.Duration // the longest time without an answer to ARP
	second  time.Duration // the longest time in which two hosts answered
	holders []string      // who answered, in order, and since when
	answers []string      // who answered, from when to when without a lapse
}

// end waits until nothing fails any more, ends the watching, logs a table of what was seen and returns it.
func (w *watch) end(t *testing.T, what string) (all map[string]seen, noise time.Duration) {
	t.Helper()
	w.quiet(t, time.Now())
	all = map[string]seen{}
	for name, one := range w.of {
		one.prober.Stop()
		if err := one.asker.Stop(); err != nil {
			t.Error(err)
		}
		asked, replies, err := one.asker.Since(w.begin.Round(0))
		if err != nil {
			t.Error(err)
		}
		all[name] = see(one.prober.Since(w.begin), asked, replies, w.begin)
	}
	w.control.Stop()
	control := w.control.Since(w.begin)
	noise = max(longest(control), cluster.Stall(control))
	t.Logf("%s, %s, noise %d ms\n%s", what, time.Since(w.begin).Round(time.Second), noise.Milliseconds(), table(all))
	return all, noise
}

func see(attempts []cluster.Attempt, asked []time.Time, replies []cluster.Sighting, begin time.Time) seen {
	spans := cluster.Spans(replies)
	s := seen{
		outage: longest(attempts), silence: cluster.AnswerGap(asked, replies, time.Now()), second: cluster.Duplicate(spans),
	}
	for _, a := range attempts {
		if a.Err != nil {
			s.failed++
		}
		if errors.Is(a.Err, syscall.ECONNRESET) {
			s.resets++
		}
	}
	since := func(t time.Time) float64 { return t.Sub(begin.Round(0)).Seconds() }
	for i, span := range spans {
		s.answers = append(s.answers, fmt.Sprintf("%s@%.2f-%.2fs", nodeOf(span.MAC), since(span.First), since(span.Last)))
		if i == 0 || spans[i-1].MAC != span.MAC { // and not a pause of the machine
			s.holders = append(s.holders, fmt.Sprintf("%s@%.1fs", nodeOf(span.MAC), since(span.First)))
		}
	}
	return s
}

// longest returns the longest time in which all attempts failed: from the start of the first of them to that of the next that did
// not.
func longest(attempts []cluster.Attempt) (most time.Duration) {
	first := -1
	for i, a := range attempts {
		switch {
		case a.Err != nil && first < 0:
			first = i
		case a.Err == nil && first >= 0:
			most = max(most, a.Start.Sub(attempts[first].Start))
			first = -1
		}
	}
	return most
}

func nodeOf(mac string) string {
	for _, h := range lab.Nodes() {
		if h.MAC == mac {
			return h.Name
		}
	}
	return mac
}

func table(all map[string]seen) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVICE\tFAILED\tRESET\tOUTAGE MS\tSILENT MS\tTWO MS\tHOLDERS")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", name, s.failed, s.resets, s.outage.Milliseconds(), s.silence.Milliseconds(),
			s.second.Milliseconds(), strings.Join(s.holders, " "))
	}
	_ = w.Flush()
	return b.String()
}

// wantShort fails if a Service was unreachable for longer than in a failover, or for a host that has to ask for its MAC. What the API
// server was unreachable for at the same time is the machine's doing, or this process did not run for, and may have hit a Service twice
// as hard: a speaker that stood still asks its peers before it answers again.
func wantShort(t *testing.T, all map[string]seen, noise time.Duration) {
	t.Helper()
	noise *= 2
	for name, s := range all {
		if s.outage > failoverBound+noise {
			t.Errorf("%s could not be reached for %s, want %s at most", name, s.outage, failoverBound)
		}
		if s.silence > failoverBound+noise {
			t.Errorf("nobody answered for %s for %s, want %s at most; answers: %v", name, s.silence, failoverBound, s.answers)
		}
	}
}

// wantOne fails if two hosts answered for an address for longer than a move takes.
func wantOne(t *testing.T, all map[string]seen) {
	t.Helper()
	for name, s := range all {
		if s.second > failoverBound {
			t.Errorf("two hosts answered for %s for %s, want %s at most", name, s.second, failoverBound)
		}
	}
}
