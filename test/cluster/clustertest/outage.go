package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// Settle is for how long connections must succeed after the last one that failed.
const Settle = time.Second

// AnnouncedService makes a Service with policy Local, so that no connection goes to a pod on a node that is lost, and
// returns its address and the node that announces it.
func (l *Lab) AnnouncedService(t *testing.T, name string) (addr netip.AddrPort, node string) {
	t.Helper()
	l.Create(t, name, Local)
	l.WantAddresses(t, name, "192.168.1.160")
	l.WantHTTP(t, "192.168.1.160")
	return netip.MustParseAddrPort("192.168.1.160:80"), l.WantHolder(t, "192.168.1.160")
}

// FailoverBound is the promise of this version: for no longer do new connections fail when a node or a speaker is lost.
const FailoverBound = time.Second

// Outage runs f while the host on the LAN opens connections, waits until they succeed again, and returns for how long they
// failed. Connections to the API server, in which Invar has no part, are opened beside them: for how long these failed is the
// noise of the machine.
func (l *Lab) Outage(t *testing.T, addr netip.AddrPort, f func()) (attempts []cluster.Attempt, gap, noise time.Duration) {
	t.Helper()
	all, noise := l.Outages(t, cluster.Client, []netip.AddrPort{addr}, f)
	return all[0].Attempts, all[0].Gap, noise
}

// FailOver cuts off the node that announces the addresses while a host opens connections to them. It wants these to fail, but for
// no longer than FailoverBound, and others to answer for the addresses afterwards. The node is healed after the test.
func (l *Lab) FailOver(t *testing.T, host, node string, addrs ...netip.AddrPort) {
	t.Helper()
	all, _ := l.Outages(t, host, addrs, func() {
		if err := l.Lab(t.Context(), "cut", node); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { l.Heal(t, node) })
	for i, in := range all {
		if in.Gap == 0 || in.Gap > FailoverBound {
			t.Errorf("%s: new connections failed for %s, want more than nothing and at most %s", addrs[i], in.Gap, FailoverBound)
		}
		if next := l.WantHolder(t, addrs[i].Addr().String()); next == node {
			t.Errorf("%s is still answered by %s, which is cut off", addrs[i].Addr(), node)
		}
	}
}

// Interruption is what connections to one address went through.
type Interruption struct {
	Attempts []cluster.Attempt // since f began
	Gap      time.Duration     // for how long they failed
}

// Outages is Outage for connections from a host to several addresses at once, in their order.
func (l *Lab) Outages(t *testing.T, host string, addrs []netip.AddrPort, f func()) (all []Interruption, noise time.Duration) {
	t.Helper()
	api, err := l.Host("control-plane")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	control := l.Probe(host, netip.AddrPortFrom(api.IPv4, 6443))
	var probers []*cluster.Prober
	for _, addr := range addrs {
		probers = append(probers, l.Probe(host, addr))
	}
	waitForAll(t, "connections succeed before anything is done", probers, func(p *cluster.Prober) error {
		if gap, _ := cluster.Outage(p.Since(time.Now().Add(-Settle))); gap > 0 || time.Since(begin) < 2*Settle {
			return fmt.Errorf("failed for %s", gap)
		}
		return nil
	})
	start := time.Now()
	f()
	waitForAll(t, "connections succeed again", probers, func(p *cluster.Prober) error {
		attempts := p.Since(start)
		gap, ok := cluster.Outage(attempts)
		if !ok || len(attempts) == 0 || attempts[len(attempts)-1].Start.Sub(start) < gap+2*Settle {
			return fmt.Errorf("failed for %s", gap)
		}
		return nil
	})
	for _, p := range probers {
		p.Stop()
	}
	control.Stop()
	noise, _ = cluster.Outage(control.Since(start))
	for i, p := range probers {
		in := Interruption{Attempts: p.Since(start)}
		in.Gap, _ = cluster.Outage(in.Attempts)
		t.Logf("%s: new connections failed for %d ms (noise of the machine: %d ms): %s",
			addrs[i], in.Gap.Milliseconds(), noise.Milliseconds(), failures(in.Attempts, start))
		all = append(all, in)
	}
	return all, noise
}

// waitForAll waits until done accepts each of the probers.
func waitForAll(t *testing.T, what string, probers []*cluster.Prober, done func(*cluster.Prober) error) {
	t.Helper()
	Eventually(t, what, func(context.Context) (err error) {
		for _, p := range probers {
			err = errors.Join(err, done(p))
		}
		return err
	})
}

// failures says when attempts failed, in milliseconds since start, with neighbours drawn together.
func failures(attempts []cluster.Attempt, start time.Time) string {
	var out []string
	for i := 0; i < len(attempts); i++ {
		if attempts[i].Err == nil {
			continue
		}
		from := i
		for i+1 < len(attempts) && attempts[i+1].Err != nil {
			i++
		}
		out = append(out, fmt.Sprintf("%d at %d-%d (%v)", i-from+1,
			attempts[from].Start.Sub(start).Milliseconds(), attempts[i].Start.Sub(start).Milliseconds(), attempts[i].Err))
	}
	return strings.Join(out, ", ")
}

// WantNoFailure is for moves in which nothing is lost.
func (l *Lab) WantNoFailure(t *testing.T, what string, addr netip.AddrPort, f func()) {
	t.Helper()
	l.WantNoFailures(t, what, cluster.Client, []netip.AddrPort{addr}, f)
}

// WantNoFailures is WantNoFailure for connections from a host to several addresses at once.
func (l *Lab) WantNoFailures(t *testing.T, what, host string, addrs []netip.AddrPort, f func()) {
	t.Helper()
	all, noise := l.Outages(t, host, addrs, f)
	for i, in := range all {
		if l.straddled(in.Attempts) {
			t.Logf("%s: only connections whose handshake was under way at the move were reset", addrs[i])
		} else if in.Gap > noise {
			t.Errorf("%s: new connections to %s failed for %s, want none to fail", what, addrs[i], in.Gap)
		}
	}
}

// straddled reports whether all that failed are a few connections that were reset: their first packet went to the former
// node, which knows the connection and answered, and the next one to the new node, which does not. No announcement can save
// these; what matters is that nobody got no answer.
func (l *Lab) straddled(attempts []cluster.Attempt) bool {
	resets := 0
	for _, a := range attempts {
		if a.Err == nil {
			continue
		}
		if !errors.Is(a.Err, syscall.ECONNRESET) {
			return false
		}
		resets++
	}
	return resets > 0 && resets <= len(l.Nodes())
}
