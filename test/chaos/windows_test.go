package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOutside(t *testing.T) {
	at := interval{10, 20}
	for _, tt := range []struct {
		name   string
		others []interval
		want   time.Duration
	}{
		{"nothing", nil, 10},
		{"before and after", []interval{{0, 10}, {20, 30}}, 10},
		{"all", []interval{{0, 30}}, 0},
		{"the beginning", []interval{{5, 12}}, 8},
		{"the end", []interval{{18, 25}}, 8},
		{"the middle", []interval{{12, 14}}, 8},
		{"overlapping, in any order", []interval{{15, 18}, {11, 13}, {12, 16}}, 3},
		{"one in another", []interval{{11, 19}, {12, 13}}, 2},
		{"twice the same", []interval{{11, 13}, {11, 13}}, 8},
	} {
		if got := at.outside(tt.others); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestPostponed(t *testing.T) {
	lag := func(from, to time.Duration) window { return window{effect: lagEffect, interval: interval{from, to}} }
	for _, tt := range []struct {
		name    string
		windows []window
		want    time.Duration
	}{
		{"no lag", nil, 100},
		{"one that is over", []window{lag(10, 50)}, 100},
		{"one that has just ended", []window{lag(10, 97)}, 102},
		{"one that begins later", []window{lag(100, 200)}, 100},
		{"one that goes on", []window{lag(90, 200)}, 205},
		{"one after the other", []window{lag(203, 300), lag(90, 200)}, 305},
		{"another effect", []window{{effect: gapEffect, interval: interval{90, 200}}}, 100},
	} {
		if got := postponed(tt.windows, 100, 5); got != tt.want {
			t.Errorf("%s: due at %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestWindowsOfPartition looks at both sides of a partition of three nodes.
func TestWindowsOfPartition(t *testing.T) {
	s := quiet()
	s.fault(Fault{Kind: "partition", Apart: []string{"node1", controlPlane}})
	type row struct{ Observer, Node string }
	limits := map[row]time.Duration{}
	for _, w := range windowsOf(&s.History) {
		if w.effect == gapEffect && w.service == "" && w.from == s.Faults[0].Begin {
			limits[row{w.observer, w.node}] = w.to - s.Faults[0].Injected
		}
	}
	want := map[row]time.Duration{{client.Name, "node1"}: failover, {controlPlane, ""}: minority}
	if diff := cmp.Diff(want, limits); diff != "" {
		t.Errorf("limits of a gap by observer and holder (-want +got):\n%s", diff)
	}
}

// TestConnectionsInAMinority: they may fail as long as nobody has found out, and not to the end.
func TestConnectionsInAMinority(t *testing.T) {
	s := quiet()
	s.fault(Fault{Kind: "partition", Apart: []string{"node1", "node2"}})
	want := map[string]time.Duration{client.Name: minority, controlPlane: minority}
	got := map[string]time.Duration{}
	for _, w := range windowsOf(&s.History) {
		if w.effect == connEffect && w.service == "" && !w.cluster && w.from == s.Faults[0].Begin {
			got[w.observer] = max(got[w.observer], w.to-s.Faults[0].Injected)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("limits of connections by observer (-want +got):\n%s", diff)
	}
}

// TestHealthyFaultsAllowNoGap names the faults after which nobody may go unanswered for a moment.
func TestHealthyFaultsAllowNoGap(t *testing.T) {
	for _, kind := range []string{
		"speaker-rollout", "node-exclude", "controller-kill", "controller-freeze", "controller-rollout", "apiserver-kill", "etcd-kill",
		"controller-manager-kill", "scheduler-kill", "control-plane-freeze", "kube-proxy-kill", "kubelet-kill", "service-create",
		"service-policy", "service-pool", "pool-removed", "config-bad", "config-deleted", clockPlan.kind,
	} {
		s := quiet()
		s.fault(Fault{Kind: kind, Node: "node1"})
		for _, w := range windowsOf(&s.History) {
			if w.effect == gapEffect && w.service != churn {
				t.Errorf("%s allows a gap: %+v", kind, w)
			}
		}
	}
}

func TestConfigText(t *testing.T) {
	c := &configText{}
	c.set("default", "192.168.1.160-192.168.1.179, fd00:1::160-fd00:1::179")
	got := c.set(morePool, moreAddresses)
	want := `address-pools:
- name: default
  protocol: layer2
  addresses:
  - 192.168.1.160-192.168.1.179
  - fd00:1::160-fd00:1::179
- name: more
  protocol: layer2
  addresses:
  - 192.168.1.180-192.168.1.189
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("both pools (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - 192.168.1.190-192.168.1.199\n", func() string {
		c.set(morePool, "")
		return c.set("default", elsewhere)
	}()); diff != "" {
		t.Errorf("one pool (-want +got):\n%s", diff)
	}
}
