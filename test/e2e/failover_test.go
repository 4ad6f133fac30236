//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

const failoverBound = clustertest.FailoverBound

func TestNodeCut(t *testing.T) {
	addr, node := lab.AnnouncedService(t, "cut")
	_, gap, _ := lab.Outage(t, addr, func() {
		if err := lab.Lab(t.Context(), "cut", node); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { lab.Heal(t, node) })
	if gap == 0 || gap > failoverBound {
		t.Errorf("new connections failed for %s, want more than nothing and at most %s", gap, failoverBound)
	}
	next := lab.WantHolder(t, addr.Addr().String())
	if next == node {
		t.Errorf("%s is still answered by %s, which is cut off", addr.Addr(), node)
	}

	// The node comes back and takes nothing back, not even for a moment.
	lab.WantNoFailure(t, node+" comes back", addr, func() { lab.Heal(t, node) })
	if now := lab.WantHolder(t, addr.Addr().String()); now != next {
		t.Errorf("%s moved from %s to %s when %s came back", addr.Addr(), next, now, node)
	}
}

func TestSpeakerKilled(t *testing.T) {
	addr, node := lab.AnnouncedService(t, "killed")
	_, gap, _ := lab.Outage(t, addr, func() {
		if err := syscall.Kill(lab.SpeakerPID(t, node), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	})
	if gap > failoverBound {
		t.Errorf("new connections failed for %s, want at most %s", gap, failoverBound)
	}
	lab.WantHolder(t, addr.Addr().String())
}

// TestSpeakerStandsStill stops the announcing speaker, until another one answers, and lets it go on. Whatever waits in its sockets,
// it answers nothing any more.
func TestSpeakerStandsStill(t *testing.T) {
	addr, node := lab.AnnouncedService(t, "still")
	old, err := lab.Host(node)
	if err != nil {
		t.Fatal(err)
	}
	asker, err := lab.Ask(cluster.Client, addr.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer asker.Stop()
	pid := lab.SpeakerPID(t, node)
	goOn := func() error { return syscall.Kill(pid, syscall.SIGCONT) }
	t.Cleanup(func() { _ = goOn() })
	stopped := time.Now()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, "another node answers", func(context.Context) error {
		_, replies, err := asker.Since(stopped)
		if !slices.ContainsFunc(replies, func(s cluster.Sighting) bool { return s.MAC != old.MAC }) {
			return fmt.Errorf("%d replies, none of another node, %w", len(replies), err)
		}
		return nil
	})
	continued := time.Now()
	if err := goOn(); err != nil {
		t.Fatal(err)
	}
	var replies []cluster.Sighting
	clustertest.Eventually(t, "answers for a second", func(context.Context) (err error) {
		if _, replies, err = asker.Since(continued); err != nil || len(replies) == 0 {
			return fmt.Errorf("%d replies, %w", len(replies), err)
		}
		if last := replies[len(replies)-1].At; last.Sub(continued) < time.Second {
			return fmt.Errorf("the last reply came %s after it went on", last.Sub(continued))
		}
		return nil
	})
	replies = slices.DeleteFunc(replies, func(s cluster.Sighting) bool { return s.MAC != old.MAC })
	if n := len(replies); n > 0 {
		t.Errorf("%s answers %d times after it went on, until %s later", node, n, replies[n-1].At.Sub(continued))
	}
}

// TestAPIOutage takes the control plane away. Addresses stay where they are, a failure is still seen, and speakers that
// crash come back and answer for what they held.
func TestAPIOutage(t *testing.T) {
	addr, node := lab.AnnouncedService(t, "outage")
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
			lab.Heal(t, h.Name)
		}
	})
	t.Cleanup(thawed)

	_, gap, _ := lab.Outage(t, addr, func() {
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
	next := lab.WantHolder(t, addr.Addr().String())
	if next == node {
		t.Fatalf("%s is still answered by %s, which was cut off", addr.Addr(), node)
	}

	crash(t, pods) // whichever comes back first may take over from one that does not
	next = lab.WantHolder(t, addr.Addr().String())
	thawed()
	lab.SpeakersReady(t)
	if now := lab.WantHolder(t, addr.Addr().String()); now != next {
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
	clustertest.Eventually(t, "the speakers are back", func(context.Context) error {
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
	addr, node := lab.AnnouncedService(t, "deleted")
	lab.WantNoFailure(t, "a speaker leaves", addr, func() {
		_, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "delete", "pod", "-l", "component=speaker",
			"--field-selector", "spec.nodeName="+node, "--wait=true")
		if err != nil {
			t.Fatal(err)
		}
	})
	if now := lab.WantHolder(t, addr.Addr().String()); now == node {
		t.Errorf("%s is answered by %s again, whose speaker left", addr.Addr(), now)
	}
	lab.SpeakersReady(t)
}

func TestRollout(t *testing.T) {
	addr, _ := lab.AnnouncedService(t, "rollout")
	lab.WantNoFailure(t, "rollout", addr, func() {
		if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "rollout", "restart", "daemonset/speaker"); err != nil {
			t.Fatal(err)
		}
		lab.SpeakersReady(t)
	})
	lab.WantHolder(t, addr.Addr().String())
}

func TestExcludeLabelMovesAway(t *testing.T) {
	addr, node := lab.AnnouncedService(t, "excluded")
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	t.Cleanup(func() {
		if _, err := lab.Kubectl(context.WithoutCancel(t.Context()), "label", "node", node, label+"-"); err != nil {
			t.Error(err)
		}
	})
	lab.WantNoFailure(t, "node is excluded", addr, func() {
		if _, err := lab.Kubectl(t.Context(), "label", "node", node, label+"="); err != nil {
			t.Fatal(err)
		}
		clustertest.Eventually(t, "another node announces", func(ctx context.Context) error {
			now, err := lab.Holder(ctx, addr.Addr())
			if err == nil && now == node {
				err = fmt.Errorf("%s still does", node)
			}
			return err
		})
	})
}
