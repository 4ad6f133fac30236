package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/explain"
)

var (
	vip   = netip.MustParseAddr("192.168.1.160")
	epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
)

// golden compares a page with the file testdata/NAME. With GOLDEN_UPDATE=1 in the environment it writes the file instead.
func golden(t *testing.T, name string, p *page) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("GOLDEN_UPDATE") == "1" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(p.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), p.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestWhyPage(t *testing.T) {
	p := &page{}
	p.why(explain.Why{
		Service: "shop/web", Served: true, Summary: "It is served: 192.168.1.160 is announced by node2 on eth0.",
		Pools: []explain.Verdict{
			{Pool: "default", Family: "IPv4"},
			{Pool: "edge", Refusal: "only on request (auto-assign: false)"},
			{Pool: "shop", Addr: vip},
			{Refusal: "in no pool", Addr: netip.MustParseAddr("192.168.9.9")},
		},
		Addresses: []explain.WhyAddress{{
			Addr: vip, Pool: "default", With: []string{"shop/api"},
			Holders: []explain.Holder{{Addr: vip, Node: "node2", Interfaces: []string{"eth0"}, Since: epoch.Add(-90 * time.Second)}},
			Nodes: []explain.WhyNode{
				{Node: "node1", Text: "no speaker is alive there"}, {Node: "node2", Text: "announces it on eth0", Holds: true},
			},
			Moves: []explain.Move{
				{At: epoch.Add(-90 * time.Second), Addr: vip, From: "node1", To: "node2", Cause: "failure", Took: 152600 * time.Microsecond},
				{At: epoch.Add(-49 * time.Hour), Addr: vip, To: "node1", Cause: "first"},
			},
		}},
		Doubts: []string{"Pod speaker-1 on node node1 can't be asked: no answer within 5s."},
	}, epoch)
	golden(t, "why.txt", p)
}

func TestStatusPage(t *testing.T) {
	p := &page{wide: true}
	p.status(explain.Status{
		Pools: []explain.Pool{
			{Name: "default", Family: "IPv4", Total: 10, InUse: 9, Services: 12},
			{Name: "default", Family: "IPv6", Total: 1<<63 - 1, InUse: 1, Services: 1},
			{Name: "full", Family: "IPv4", Total: 1, InUse: 1, Services: 1},
			{Name: "unused", Family: "IPv4", Total: 4},
		},
		Services: []explain.StatusService{
			{Service: "shop/api", Note: "pool edge: 1 of 1 addresses in use"},
			{
				Service: "shop/web", Addr: vip, Pool: "default",
				Holder: &explain.Holder{Node: "node2", Interfaces: []string{"eth0", "eth1"}, Since: epoch.Add(-3 * time.Hour)},
			},
			{Service: "shop/xyz", Addr: vip, Unknown: true, Note: "by its condition 192.168.1.160 from node node2 on eth0"},
		},
		Members: []explain.StatusMember{
			{Node: "node1", Pod: "speaker-a", Image: "invar:v1", State: "announcing"},
			{Node: "node2", Pod: "speaker-b", Image: "invar:v1", State: "no member", Addresses: 1},
			{Node: "node1", Pod: "controller-a", Image: "invar:v1", State: "leads", Controller: true},
		},
		Config:    &explain.Config{Pools: 3, Warnings: []string{"line 3: peers are left out"}},
		Conflicts: []explain.Conflict{{Addr: vip, MAC: "02:00:00:00:00:99", Node: "node2", Interface: "eth0"}},
		Moves:     []explain.Move{{At: epoch.Add(-time.Second), Addr: vip, From: "node1", To: "node2", Cause: "drain"}},
	}, epoch)
	golden(t, "status.txt", p)
}

func TestEmptyStatusPage(t *testing.T) {
	p := &page{}
	p.status(explain.Status{
		Members: []explain.StatusMember{{Node: "node1", Pod: "controller-a", Image: "invar:v1", State: "leads", Controller: true}},
		Config:  &explain.Config{},
	}, epoch)
	golden(t, "status-empty.txt", p)
}

func TestUnknownConfigPage(t *testing.T) {
	p := &page{}
	p.config(nil)
	if got, want := p.String(), "Configuration: not known\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBar(t *testing.T) {
	p := &page{}
	tests := []struct {
		inUse, total uint64
		want         int // of 20
	}{{0, 10, 0}, {1, 1000, 1}, {5, 10, 10}, {999, 1000, 19}, {10, 10, 20}, {0, 0, 0}}
	for _, tt := range tests {
		bar := p.bar(tt.inUse, tt.total)
		if got := strings.Count(bar, "█"); got != tt.want || visible(bar) != barWidth {
			t.Errorf("%d of %d: %s has %d full of %d, want %d of %d", tt.inUse, tt.total, bar, got, visible(bar), tt.want, barWidth)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 90 * time.Second: "1m30s", 5 * time.Minute: "5m", 3 * time.Hour: "3h", 72 * time.Hour: "3d",
	} {
		if got := age(epoch.Add(-d), epoch); got != want {
			t.Errorf("%v ago: %s, want %s", d, got, want)
		}
	}
}
