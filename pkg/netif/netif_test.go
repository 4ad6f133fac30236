package netif

import (
	"net/netip"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

const up = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_BROADCAST | unix.IFF_MULTICAST

// nic is a link that is eligible.
func nic(index int, name string) link {
	return link{index: index, name: name, mac: []byte{2, 0, 0, 0, 0, byte(index)}, ethernet: true, flags: up}
}

func TestJudge(t *testing.T) {
	edit := func(name string, change func(*link)) link {
		l := nic(1, name)
		change(&l)
		return l
	}
	flags := func(f uint32) func(*link) { return func(l *link) { l.flags = f } }
	tests := []struct {
		name string
		link link
		want Skip
	}{
		{"network card", nic(1, "eth0"), Eligible},
		{"predictable name", nic(1, "enp3s0f1"), Eligible},
		{"VLAN", nic(1, "eth0.100"), Eligible},
		{"bond", nic(1, "bond0"), Eligible},
		{"bridge", nic(1, "br0"), Eligible},
		{"loopback by name", nic(1, "lo"), SkipExcluded},
		{"loopback by flag", edit("loop", flags(up|unix.IFF_LOOPBACK)), SkipLoopback},
		{"pod of Calico", nic(1, "cali0123456789a"), SkipExcluded},
		{"pod of Flannel", nic(1, "vethab12cd34"), SkipExcluded},
		{"name only begins like one", nic(1, "lo0"), Eligible},
		{"name only contains one", nic(1, "mycni"), Eligible},
		{"IPVS", nic(1, "kube-ipvs0"), SkipExcluded},
		{"member of a bond", edit("eth1", func(l *link) { l.master = 7 }), SkipMember},
		{"ARP off", edit("eth0", flags(up|unix.IFF_NOARP)), SkipNoARP},
		{"down", edit("eth0", flags(unix.IFF_BROADCAST)), SkipDown},
		{"no cable", edit("eth0", flags(unix.IFF_UP)), SkipNoCarrier},
		{"InfiniBand", edit("ib0", func(l *link) { l.ethernet, l.mac = false, make([]byte, 20) }), SkipNotEthernet},
		{"tunnel without MAC", edit("wg0", func(l *link) { l.mac = nil }), SkipNotEthernet},
		{"down and member", edit("eth0", func(l *link) { l.flags, l.master = 0, 3 }), SkipMember},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := judge(tt.link, DefaultExclude()); got != tt.want {
				t.Errorf("judge = %q, want %q", got, tt.want)
			}
		})
	}
	if got := judge(nic(1, "docker0"), []*regexp.Regexp{}); got != Eligible {
		t.Errorf("an empty list excludes docker0: %q", got)
	}
}

// host returns an interface with prefixes.
func host(index int, name string, skip Skip, prefixes ...string) Interface {
	i := Interface{Index: index, Name: name, Skip: skip, MAC: MAC{2, 5: byte(index)}}
	for _, p := range prefixes {
		i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(p))
	}
	return i
}

func TestCarriers(t *testing.T) {
	tests := []struct {
		name       string
		interfaces []Interface
		addr       string
		allowed    []string
		want       []string
		reason     string
	}{
		{
			name:       "the one interface",
			interfaces: []Interface{host(1, "lo", SkipExcluded, "127.0.0.1/8"), host(2, "eth0", Eligible, "192.168.1.5/24")},
			addr:       "192.168.1.160", want: []string{"eth0"},
		},
		{
			name:       "the interface of the subnet only",
			interfaces: []Interface{host(2, "eth0", Eligible, "10.0.0.5/24"), host(3, "eth1", Eligible, "192.168.1.5/24")},
			addr:       "192.168.1.160", want: []string{"eth1"},
		},
		{
			name:       "no subnet: all of them",
			interfaces: []Interface{host(2, "eth0", Eligible, "10.0.0.5/24"), host(3, "eth1", Eligible)},
			addr:       "192.168.1.160", want: []string{"eth0", "eth1"},
		},
		{
			name: "two in one subnet: the first",
			interfaces: []Interface{
				host(5, "eth1", Eligible, "192.168.1.6/24"), host(2, "eth0", Eligible, "192.168.1.5/24"),
			},
			addr: "192.168.1.160", want: []string{"eth0"},
		},
		{
			name: "two in one subnet: the first that has a carrier",
			interfaces: []Interface{
				host(2, "eth0", SkipNoCarrier, "192.168.1.5/24"), host(5, "eth1", Eligible, "192.168.1.6/24"),
			},
			addr: "192.168.1.160", want: []string{"eth1"},
		},
		{
			name: "the subnet has no carrier: not on another segment",
			interfaces: []Interface{
				host(2, "eth0", SkipNoCarrier, "192.168.1.5/24"), host(5, "eth1", Eligible, "10.0.0.1/24"),
			},
			addr: "192.168.1.160", reason: "interface eth0 in its subnet: no carrier",
		},
		{
			name: "subnets of excluded interfaces don't count",
			interfaces: []Interface{
				host(2, "eth0", Eligible, "192.168.1.5/24"), host(9, "docker0", SkipExcluded, "172.17.0.1/16"),
			},
			addr: "172.17.0.200", want: []string{"eth0"},
		},
		{
			name: "an address that the kernel has on a dummy",
			interfaces: []Interface{
				host(2, "eth0", Eligible, "192.168.1.5/24"), host(9, "kube-ipvs0", SkipExcluded, "192.168.1.160/32"),
			},
			addr: "192.168.1.160", want: []string{"eth0"},
		},
		{
			name: "a host prefix contains itself",
			interfaces: []Interface{
				host(2, "eth0", Eligible, "192.168.1.5/32"), host(3, "eth1", Eligible, "10.0.0.1/24"),
			},
			addr: "192.168.1.6", want: []string{"eth0", "eth1"},
		},
		{
			name: "subnets inside each other are different segments",
			interfaces: []Interface{
				host(2, "eth0", Eligible, "10.0.0.5/8"), host(3, "eth1", Eligible, "10.1.0.5/16"),
				host(4, "eth2", Eligible, "10.1.0.6/16"), host(5, "eth3", Eligible, "10.2.0.6/16"),
			},
			addr: "10.1.0.7", want: []string{"eth0", "eth1"},
		},
		{
			name: "two addresses in one subnet",
			interfaces: []Interface{
				host(2, "eth0", Eligible, "192.168.1.5/24", "192.168.1.6/24"), host(3, "eth1", Eligible),
			},
			addr: "192.168.1.160", want: []string{"eth0"},
		},
		{
			name: "link-local prefixes are no subnets",
			interfaces: []Interface{
				host(2, "eth0", Eligible, "fe80::1/64"), host(3, "eth1", Eligible, "2001:db8::5/64", "fe80::2/64"),
			},
			addr: "2001:db8::160", want: []string{"eth1"},
		},
		{
			name:       "but for link-local addresses they are",
			interfaces: []Interface{host(2, "eth0", Eligible), host(3, "eth1", Eligible, "169.254.1.1/16")},
			addr:       "169.254.9.9", want: []string{"eth1"},
		},
		{
			name:       "allowed names decide",
			interfaces: []Interface{host(2, "eth0", Eligible, "192.168.1.5/24"), host(3, "eth1", Eligible)},
			addr:       "192.168.1.160", allowed: []string{"eth1", "eth7"}, want: []string{"eth1"},
		},
		{
			name:       "allowed names, none fit",
			interfaces: []Interface{host(2, "eth0", Eligible, "192.168.1.5/24"), host(3, "eth1", SkipDown)},
			addr:       "192.168.1.160", allowed: []string{"eth1", "eth7"},
			reason: "interface eth1: not up; interface eth7: no such interface",
		},
		{
			name:       "nothing eligible",
			interfaces: []Interface{host(2, "eth0", SkipDown), host(1, "lo", SkipExcluded)},
			addr:       "192.168.1.160", reason: "no interface is eligible",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, reason := NewSnapshot(tt.interfaces...).Carriers(netip.MustParseAddr(tt.addr), tt.allowed)
			var names []string
			for _, i := range got {
				names = append(names, i.Name)
			}
			if diff := cmp.Diff(tt.want, names); diff != "" {
				t.Errorf("carriers (-want +got):\n%s", diff)
			}
			if reason != tt.reason {
				t.Errorf("reason %q, want %q", reason, tt.reason)
			}
		})
	}
	var none *Snapshot
	if _, reason := none.Carriers(netip.MustParseAddr("10.0.0.1"), nil); reason == "" {
		t.Error("no reason before the first scan")
	}
}

func TestSnapshotEqual(t *testing.T) {
	a := NewSnapshot(host(2, "eth0", Eligible, "10.0.0.1/8"), host(3, "eth1", Eligible))
	if !a.Equal(NewSnapshot(slices.Clone(a.Interfaces())...)) {
		t.Error("a snapshot differs from its copy")
	}
	for name, change := range map[string]func(*Interface){
		"prefix":  func(i *Interface) { i.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.2/8")} },
		"MAC":     func(i *Interface) { i.MAC[0]++ },
		"skip":    func(i *Interface) { i.Skip = SkipDown },
		"epoch":   func(i *Interface) { i.Epoch++ },
		"name":    func(i *Interface) { i.Name = "wan" },
		"carrier": func(i *Interface) { i.Carrier = !i.Carrier },
	} {
		other := slices.Clone(a.Interfaces())
		change(&other[0])
		if a.Equal(NewSnapshot(other...)) {
			t.Errorf("a change of %s goes unnoticed", name)
		}
	}
}
