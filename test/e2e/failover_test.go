//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// failoverBound is the promise of this version: for no longer do new connections fail when a node or a speaker is lost.
const failoverBound = time.Second

// settle is for how long connections must succeed after the last one that failed.
const settle = time.Second

// announcedService makes a Service with policy Local, so that no connection goes to a pod on a node that is lost, and
// returns its address and the node that announces it.
func announcedService(t *testing.T, name string) (addr netip.AddrPort, node string) {
	t.Helper()
	create(t, name, local)
	wantAddresses(t, name, "192.168.1.160")
	wantHTTP(t, "192.168.1.160")
	return netip.MustParseAddrPort("192.168.1.160:80"), holder(t, "192.168.1.160")
}

// outage runs f while the host on the LAN opens connections, waits until they succeed again, and returns for how long they
// failed. Connections to the API server, in which Invar has no part, are opened beside them: for how long these failed is the
// noise of the machine.
func outage(t *testing.T, addr netip.AddrPort, f func()) (attempts []cluster.Attempt, gap, noise time.Duration) {
	t.Helper()
	api, err := lab.Host("control-plane")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	p, control := lab.Probe(cluster.Client, addr), lab.Probe(cluster.Client, netip.AddrPortFrom(api.IPv4, 6443))
	eventually(t, "connections succeed before anything is done", func(context.Context) error {
		if gap, _ := cluster.Outage(p.Since(time.Now().Add(-settle))); gap > 0 || time.Since(begin) < 2*settle {
			return fmt.Errorf("failed for %s", gap)
		}
		return nil
	})
	start := time.Now()
	f()
	eventually(t, "connections succeed again", func(context.Context) error {
		attempts := p.Since(start)
		gap, ok := cluster.Outage(attempts)
		if !ok || len(attempts) == 0 || attempts[len(attempts)-1].Start.Sub(start) < gap+2*settle {
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

// wantNoFailure is for moves in which nothing is lost.
func wantNoFailure(t *testing.T, what string, addr netip.AddrPort, f func()) {
	t.Helper()
	attempts, gap, noise := outage(t, addr, f)
	if straddled(attempts) {
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
func straddled(attempts []cluster.Attempt) bool {
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
	return resets > 0 && resets <= len(lab.Nodes())
}

func TestNodeCut(t *testing.T) {
	addr, node := announcedService(t, "cut")
	_, gap, _ := outage(t, addr, func() {
		if err := lab.Lab(t.Context(), "cut", node); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { healed(t, node) })
	if gap == 0 || gap > failoverBound {
		t.Errorf("new connections failed for %s, want more than nothing and at most %s", gap, failoverBound)
	}
	next := holder(t, addr.Addr().String())
	if next == node {
		t.Errorf("%s is still answered by %s, which is cut off", addr.Addr(), node)
	}

	// The node comes back and takes nothing back, not even for a moment.
	wantNoFailure(t, node+" comes back", addr, func() { healed(t, node) })
	if now := holder(t, addr.Addr().String()); now != next {
		t.Errorf("%s moved from %s to %s when %s came back", addr.Addr(), next, now, node)
	}
}

// healed plugs a node in again and waits until its speaker is ready and Kubernetes knows.
func healed(t *testing.T, node string) {
	t.Helper()
	if err := lab.Lab(context.WithoutCancel(t.Context()), "heal", node); err != nil {
		t.Fatal(err)
	}
	eventually(t, node+" is Ready", func(ctx context.Context) error {
		_, err := lab.Kubectl(ctx, "wait", "--for=condition=Ready", "node/"+node, "--timeout=1s")
		return err
	})
}

func TestSpeakerKilled(t *testing.T) {
	addr, node := announcedService(t, "killed")
	_, gap, _ := outage(t, addr, func() {
		if err := syscall.Kill(speakerPID(t, node), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	})
	if gap > failoverBound {
		t.Errorf("new connections failed for %s, want at most %s", gap, failoverBound)
	}
	holder(t, addr.Addr().String())
}

// TestAPIOutage takes the control plane away. Addresses stay where they are, a failure is still seen, and speakers that
// crash come back and answer for what they held.
func TestAPIOutage(t *testing.T) {
	addr, node := announcedService(t, "outage")
	pods := map[string]string{}
	for _, h := range lab.Nodes() {
		uid, err := lab.PodUID(t.Context(), cluster.Namespace, "component=speaker", h.Name)
		if err != nil {
			t.Fatal(err)
		}
		pods[h.Name] = uid
	}
	if err := lab.Lab(t.Context(), "freeze", "control-plane"); err != nil {
		t.Fatal(err)
	}
	thawed := sync.OnceFunc(func() {
		if err := lab.Lab(context.WithoutCancel(t.Context()), "thaw", "control-plane"); err != nil {
			t.Error(err)
		}
		for _, h := range lab.Nodes() {
			healed(t, h.Name)
		}
	})
	t.Cleanup(thawed)

	_, gap, _ := outage(t, addr, func() {
		if err := lab.Lab(t.Context(), "cut", node); err != nil {
			t.Fatal(err)
		}
	})
	if gap > failoverBound {
		t.Errorf("without the API server new connections failed for %s, want at most %s", gap, failoverBound)
	}
	if err := lab.Lab(t.Context(), "heal", node); err != nil {
		t.Fatal(err)
	}
	next := holder(t, addr.Addr().String())
	if next == node {
		t.Fatalf("%s is still answered by %s, which was cut off", addr.Addr(), node)
	}

	crash(t, pods) // whichever comes back first may take over from one that does not
	next = holder(t, addr.Addr().String())
	thawed()
	speakersReady(t)
	if now := holder(t, addr.Addr().String()); now != next {
		t.Errorf("%s moved from %s to %s when the API server came back", addr.Addr(), next, now)
	}
}

// crash kills the speakers in the given pods, by node, all at once, and waits until each has another process.
func crash(t *testing.T, pods map[string]string) {
	t.Helper()
	before := map[string]int{}
	for node, uid := range pods {
		pid, err := cluster.ProcessOf(uid, "speaker")
		if err != nil {
			t.Fatal(err)
		}
		before[node] = pid
	}
	for node, pid := range before {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("kill the speaker of %s: %v", node, err)
		}
	}
	eventually(t, "the speakers are back", func(context.Context) error {
		for node, uid := range pods {
			pid, err := cluster.ProcessOf(uid, "speaker")
			if err != nil || pid == before[node] {
				return fmt.Errorf("%s: process %d, %w", node, pid, err)
			}
		}
		return nil
	})
}

func TestSpeakerDeleted(t *testing.T) {
	addr, node := announcedService(t, "deleted")
	wantNoFailure(t, "a speaker leaves", addr, func() {
		_, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "delete", "pod", "-l", "component=speaker",
			"--field-selector", "spec.nodeName="+node, "--wait=true")
		if err != nil {
			t.Fatal(err)
		}
	})
	if now := holder(t, addr.Addr().String()); now == node {
		t.Errorf("%s is answered by %s again, whose speaker left", addr.Addr(), now)
	}
	speakersReady(t)
}

func TestRollout(t *testing.T) {
	addr, _ := announcedService(t, "rollout")
	wantNoFailure(t, "rollout", addr, func() {
		if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "rollout", "restart", "daemonset/speaker"); err != nil {
			t.Fatal(err)
		}
		speakersReady(t)
	})
	holder(t, addr.Addr().String())
}

func TestExcludeLabelMovesAway(t *testing.T) {
	addr, node := announcedService(t, "excluded")
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	t.Cleanup(func() {
		if _, err := lab.Kubectl(context.WithoutCancel(t.Context()), "label", "node", node, label+"-"); err != nil {
			t.Error(err)
		}
	})
	wantNoFailure(t, "node is excluded", addr, func() {
		if _, err := lab.Kubectl(t.Context(), "label", "node", node, label+"="); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another node announces", func(ctx context.Context) error {
			now, err := lab.Holder(ctx, addr.Addr())
			if err == nil && now == node {
				err = fmt.Errorf("%s still does", node)
			}
			return err
		})
	})
}

func speakersReady(t *testing.T) {
	t.Helper()
	if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "rollout", "status", "daemonset/speaker", "--timeout=120s"); err != nil {
		t.Fatal(err)
	}
}

// speakerPID finds the speaker's process of a node.
func speakerPID(t *testing.T, node string) int {
	t.Helper()
	pid, err := lab.PID(t.Context(), cluster.Namespace, "component=speaker", node, "speaker")
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
