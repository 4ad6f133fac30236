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

// Outage runs f while the host on the LAN opens connections, waits until they succeed again, and returns for how long they
// failed. Connections to the API server, in which Invar has no part, are opened beside them: for how long these failed is the
// noise of the machine.
func (l *Lab) Outage(t *testing.T, addr netip.AddrPort, f func()) (attempts []cluster.Attempt, gap, noise time.Duration) {
	t.Helper()
	api, err := l.Host("control-plane")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p, control := l.Probe(cluster.Client, addr), l.Probe(cluster.Client, netip.AddrPortFrom(api.IPv4, 6443))
	Eventually(t, "connections succeed before anything is done", func(context.Context) error {
		if gap, _ := cluster.Outage(p.Since(time.Now().Add(-Settle))); gap > 0 || time.Since(begin) < 2*Settle {
			return fmt.Errorf("failed for %s", gap)
		}
		return nil
	})
	start := time.Now()
	f()
	Eventually(t, "connections succeed again", func(context.Context) error {
		attempts := p.Since(start)
		gap, ok := cluster.Outage(attempts)
		if !ok || len(attempts) == 0 || attempts[len(attempts)-1].Start.Sub(start) < gap+2*Settle {
			return fmt.Errorf("failed for %s", gap)
		}
		return nil
	})
	p.Stop()
	control.Stop()
	attempts = p.Since(start)
	gap, _ = cluster.Outage(attempts)
	noise, _ = cluster.Outage(control.Since(start))
	t.Logf("new connections failed for %d ms (noise of the machine: %d ms): %s",
		gap.Milliseconds(), noise.Milliseconds(), failures(attempts, start))
	return attempts, gap, noise
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
	attempts, gap, noise := l.Outage(t, addr, f)
	if l.straddled(attempts) {
		t.Log("only connections whose handshake was under way at the move were reset")
		return
	}
	if gap > noise {
		t.Errorf("%s: new connections failed for %s, want none to fail", what, gap)
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
