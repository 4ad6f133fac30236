package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/test/lab/plan"
)

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		what, name string
		nodes      int
		mode       string
		err        string
	}{
		{"smallest", "a", 1, "nftables", ""},
		{"largest", "abcdefghijkl", plan.MaxNodes, "ipvs", ""},
		{"no name", "", 3, "nftables", "check lab name"},
		{"name with dash", "a-b", 3, "nftables", "check lab name"},
		{"name too long", "abcdefghijklm", 3, "nftables", "check lab name"},
		{"name that climbs", "..", 3, "nftables", "check lab name"},
		{"no nodes", "a", 0, "nftables", "number of nodes"},
		{"too many nodes", "a", plan.MaxNodes + 1, "nftables", "number of nodes"},
		{"unknown mode", "a", 3, "userspace", "check proxy mode"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			_, err := plan.New(tt.name, tt.nodes, tt.mode)
			if (err == nil) != (tt.err == "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("New(%q, %d, %q) = %v, want an error with %q", tt.name, tt.nodes, tt.mode, err, tt.err)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	lab := plan.Lab{Name: "lab", Nodes: 2, ProxyMode: "nftables"}
	want := []plan.Host{
		{
			Name: "control-plane", Role: plan.ControlPlane, Netns: "lab-control-plane", Port: "p-control-plane",
			MAC: "02:42:c0:a8:01:0a", IPv4: netip.MustParseAddr("192.168.1.10"), IPv6: netip.MustParseAddr("fd00:1::10"),
			Cgroup: "lab-lab-control-plane",
		},
		{
			Name: "node1", Role: plan.Node, Netns: "lab-node1", Port: "p-node1",
			MAC: "02:42:c0:a8:01:0b", IPv4: netip.MustParseAddr("192.168.1.11"), IPv6: netip.MustParseAddr("fd00:1::11"),
			PodsV4: netip.MustParsePrefix("10.244.1.0/24"), PodsV6: netip.MustParsePrefix("fd00:10:244:1::/64"),
			Cgroup: "lab-lab-node1",
		},
		{
			Name: "node2", Role: plan.Node, Netns: "lab-node2", Port: "p-node2",
			MAC: "02:42:c0:a8:01:0c", IPv4: netip.MustParseAddr("192.168.1.12"), IPv6: netip.MustParseAddr("fd00:1::12"),
			PodsV4: netip.MustParsePrefix("10.244.2.0/24"), PodsV6: netip.MustParsePrefix("fd00:10:244:2::/64"),
			Cgroup: "lab-lab-node2",
		},
		{
			Name: "client", Role: plan.Client, Netns: "lab-client", Port: "p-client",
			MAC: "02:42:c0:a8:01:64", IPv4: netip.MustParseAddr("192.168.1.100"), IPv6: netip.MustParseAddr("fd00:1::100"),
			Cgroup: "lab-lab-client",
		},
		{
			Name: "router", Role: plan.Router, Netns: "lab-router", Port: "p-router",
			MAC: "02:42:c0:a8:01:01", IPv4: netip.MustParseAddr(plan.GatewayV4), IPv6: netip.MustParseAddr(plan.GatewayV6),
			Cgroup: "lab-lab-router",
		},
		{
			Name: "outside", Role: plan.Outside, Netns: "lab-outside", Port: "p-outside",
			MAC: "02:42:c0:a8:02:64", IPv4: netip.MustParseAddr("192.168.2.100"), IPv6: netip.MustParseAddr("fd00:2::100"),
			Cgroup: "lab-lab-outside",
		},
	}
	if diff := cmp.Diff(want, lab.Hosts(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("Hosts (-want +got):\n%s", diff)
	}
}

// TestLimits checks what the kernel limits, for the longest names there can be.
func TestLimits(t *testing.T) {
	lab, err := plan.New("abcdefghijkl", plan.MaxNodes, "nftables")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[any]string)
	for _, h := range lab.Hosts() {
		if len(h.Port) > 15 {
			t.Errorf("port %s of %s: interface names have at most 15 bytes", h.Port, h.Name)
		}
		if socket := lab.HostDir(h) + "/run/containerd/containerd.sock.ttrpc"; len(socket) > 107 {
			t.Errorf("socket %s: paths of sockets have at most 107 bytes", socket)
		}
		for _, unique := range []any{h.Name, h.Netns, h.Port, h.MAC, h.IPv4, h.IPv6, h.Cgroup} {
			if other, ok := seen[unique]; ok && other != h.Name {
				t.Errorf("%v belongs to %s and %s", unique, other, h.Name)
			}
			seen[unique] = h.Name
		}
	}
}

// TestAddresses checks for the largest lab that no address or range lies where another one's is.
func TestAddresses(t *testing.T) {
	lab := plan.Lab{Name: "lab", Nodes: plan.MaxNodes}
	lan4, lan6 := netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("fd00:1::/64")
	if lan4.Bits() != plan.LANv4Bits || lan6.Bits() != plan.LANv6Bits {
		t.Errorf("LAN is %v and %v, prefix lengths are %d and %d", lan4, lan6, plan.LANv4Bits, plan.LANv6Bits)
	}
	pods4, pods6 := netip.MustParsePrefix(plan.PodsV4), netip.MustParsePrefix(plan.PodsV6)
	services4, services6 := netip.MustParsePrefix(plan.ServicesV4), netip.MustParsePrefix(plan.ServicesV6)
	ranges := []netip.Prefix{lan4, lan6, services4, services6}
	for _, h := range lab.Hosts() {
		if far := h.Role == plan.Outside; lan4.Contains(h.IPv4) == far || lan6.Contains(h.IPv6) == far {
			t.Errorf("%s: %v and %v are on the LAN, or not, as they should not", h.Name, h.IPv4, h.IPv6)
		}
		if h.Role != plan.Node {
			continue
		}
		if !pods4.Contains(h.PodsV4.Addr()) || !pods6.Contains(h.PodsV6.Addr()) {
			t.Errorf("%s: %v and %v are outside of %v and %v", h.Name, h.PodsV4, h.PodsV6, pods4, pods6)
		}
		ranges = append(ranges, h.PodsV4, h.PodsV6)
	}
	for i, a := range ranges {
		if a != a.Masked() {
			t.Errorf("range %v has host bits", a)
		}
		for _, b := range ranges[:i] {
			if a.Overlaps(b) {
				t.Errorf("ranges %v and %v overlap", a, b)
			}
		}
	}
	for addr, services := range map[string]netip.Prefix{
		plan.APIServiceV4: services4, plan.APIServiceV6: services6, plan.DNSService: services4,
	} {
		if !services.Contains(netip.MustParseAddr(addr)) {
			t.Errorf("%s lies outside of %v", addr, services)
		}
	}
}

func TestOwns(t *testing.T) {
	lab := plan.Lab{Name: "a"}
	for _, tt := range []struct {
		name string
		want bool
	}{
		{"a-switch", true},
		{"a-control-plane", true},
		{"a-client", true},
		{"a-router", true},
		{"a-outside", true},
		{"a-node1", true},
		{"a-node80", true},
		{"ab-node1", false},
		{"b-a-node1", false},
		{"a-node", false},
		{"a-node1x", false},
		{"a", false},
		{"a-database", false},
	} {
		if got := lab.OwnsNetns(tt.name); got != tt.want {
			t.Errorf("OwnsNetns(%q) = %t, want %t", tt.name, got, tt.want)
		}
		if got := lab.OwnsCgroup("lab-" + tt.name); got != tt.want {
			t.Errorf("OwnsCgroup(%q) = %t, want %t", "lab-"+tt.name, got, tt.want)
		}
	}
}

func TestHost(t *testing.T) {
	lab := plan.Lab{Name: "lab", Nodes: 1}
	h, err := lab.Host("node1")
	if err != nil || h.Name != "node1" {
		t.Errorf("Host(node1) = %v, %v", h, err)
	}
	if _, err := lab.Host("node2"); err == nil {
		t.Error("Host(node2) of a lab with one node: want an error")
	}
}
