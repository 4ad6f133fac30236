package doctor_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/doctor"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/ipam"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	cfg, err := config.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func ranges(what string, texts ...string) (out []doctor.Range) {
	for _, text := range texts {
		r, err := ipam.ParseRange(text)
		if err != nil {
			panic(err)
		}
		out = append(out, doctor.Range{Range: r, What: what})
	}
	return out
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// healthy returns the facts of a cluster of two nodes in which nothing is wrong. It has what a check could take for a fault.
func healthy(t *testing.T) *doctor.Facts {
	f := &doctor.Facts{
		ConfigMap:     "metallb-system/config",
		Config:        parse(t, "address-pools:\n- {name: default, protocol: layer2, addresses: [192.168.1.160-192.168.1.169, 'fd00:1::160-fd00:1::169']}\n"),
		PodRanges:     ranges("the pods of a node", "10.244.0.0/16"),
		ServiceRanges: ranges("Services", "10.96.0.0/16", "fd00:96::/112"),
		Used:          ranges("node node1", "192.168.1.11/32"),
		KubeProxy:     doctor.KubeProxy{Source: "ConfigMap kube-system/kube-proxy", Mode: "ipvs", StrictARP: true},
		Workloads: []doctor.Workload{
			{Name: "DaemonSet metallb-system/speaker", Images: []string{"ghcr.io/invar-lb/invar:v1"}, Own: true},
			{Name: "Pod kube-system/kube-vip-cp1", Images: []string{"ghcr.io/kube-vip/kube-vip:v1.0.0"}, Env: map[string]string{"cp_enable": "true"}},
			{Name: "DaemonSet kube-system/cilium", Images: []string{"quay.io/cilium/cilium:v1.18.0"}},
			{Name: "DaemonSet bgp/speaker", Images: []string{"quay.io/metallb/speaker:v0.16.1"}, Class: "example.com/bgp"},
		},
		Wishes:      []doctor.Wish{{Service: "default/web", Node: "node2"}},
		Controllers: []doctor.Controller{{Pod: "controller-1", Ready: true, State: &explain.ControllerState{Leading: true, Version: "v1"}}},
		Version:     "v1", Kubernetes: "v1.37.2",
	}
	for i, name := range []string{"node1", "node2"} {
		f.Nodes = append(f.Nodes, doctor.Node{Name: name, Labels: map[string]string{"rack": fmt.Sprint(i)}})
		f.Speakers = append(f.Speakers, doctor.Speaker{
			Pod: "speaker-" + name, Node: name, Ready: true, Asked: noon, Answered: noon.Add(100 * time.Millisecond),
			State: &explain.SpeakerState{
				Node: name, Version: "v1", Since: noon.Add(-time.Hour), Now: noon.Add(time.Duration(i) * 2 * time.Second),
				Members: []explain.Member{{Name: "node1"}, {Name: "node2"}, {Name: "controller-1", Observer: true}},
				Interfaces: []explain.Interface{
					{Name: "lo", Skip: "loopback"},
					{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.11/24")}, RPFilter: 1, DefaultRoute: true},
					{Name: "eth1", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.9.0.11/24")}, RPFilter: 1},
					{Name: "wlan0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.8.0.11/24")}, Wireless: true},
				},
			},
		})
	}
	return f
}

func excluded(f *doctor.Facts) {
	for i := range f.Nodes {
		f.Nodes[i].Excluded = true
	}
}

// pools gives f a pool of these addresses with more keys.
func pools(t *testing.T, f *doctor.Facts, addresses, more string) {
	f.Config = parse(t, "address-pools: [{name: default, protocol: layer2, addresses: ["+addresses+"]"+more+"}]")
}

func TestExamine(t *testing.T) {
	_, mistake := config.Parse("address-pools: 5")
	rival := func(w doctor.Workload) func(*doctor.Facts) {
		return func(f *doctor.Facts) { f.Workloads = append(f.Workloads, w) }
	}
	tests := []struct {
		name  string
		seed  func(f *doctor.Facts)
		check string   // "" if nothing is to be found
		want  []string // the evidence
	}{
		{"healthy", func(*doctor.Facts) {}, "", nil},
		{"nothing is known", func(f *doctor.Facts) { *f = doctor.Facts{Controllers: f.Controllers} }, "", nil},
		{
			"a mistake in the configuration", func(f *doctor.Facts) { f.Config, f.ConfigErr = nil, mistake }, "config",
			[]string{`line 1, column 16: address-pools: "5": must be a list, is a single value`},
		},
		{
			"no configuration", func(f *doctor.Facts) {
				f.Config, f.ConfigErr = nil, errors.New("ConfigMap metallb-system/config does not exist")
			}, "config",
			[]string{"ConfigMap metallb-system/config does not exist"},
		},
		{"no pool", func(f *doctor.Facts) { f.Config = &config.Config{} }, "config", []string{"ConfigMap metallb-system/config has no layer2 pool"}},
		{"an old Kubernetes", func(f *doctor.Facts) { f.Kubernetes = "v1.30.1+k3s1" }, "kubernetes", []string{"the API server is v1.30.1+k3s1"}},
		{"no controller", func(f *doctor.Facts) { f.Controllers = nil }, "controller", []string{"there is no pod of the controller"}},
		{
			"a controller that does not work", func(f *doctor.Facts) { f.Controllers[0].Ready, f.Controllers[0].State = false, nil }, "controller",
			[]string{"pod controller-1 is not ready"},
		},
		{
			"no controller leads", func(f *doctor.Facts) { f.Controllers[0].State.Leading = false }, "controller",
			[]string{"pod controller-1 does not hold the Lease metallb-controller"},
		},
		{"a controller that can't be asked", func(f *doctor.Facts) { f.Controllers[0].State = nil }, "", nil},
		{"one of two controllers stands by", func(f *doctor.Facts) {
			f.Controllers = append(f.Controllers, doctor.Controller{Pod: "controller-2", Ready: true, State: &explain.ControllerState{Version: "v1"}})
		}, "", nil},
		{
			"a speaker that does not work", func(f *doctor.Facts) { f.Speakers[1].Ready, f.Speakers[1].State.NotReady = false, "waiting for peers" }, "speaker",
			[]string{"node node2: pod speaker-node2 is not ready: waiting for peers"},
		},
		{
			"a speaker that waits for a node", func(f *doctor.Facts) { f.Speakers = append(f.Speakers, doctor.Speaker{Pod: "speaker-3"}) }, "speaker",
			[]string{"pod speaker-3 is not ready: no node has taken it"},
		},
		{"no speaker", func(f *doctor.Facts) { f.Speakers, f.Wishes = nil, nil }, "speaker", []string{"there is no pod of a speaker"}},
		{"all nodes excluded", func(f *doctor.Facts) { excluded(f); f.Wishes = nil }, "excluded", []string{
			"node node1 has label node.kubernetes.io/exclude-from-external-load-balancers",
			"node node2 has label node.kubernetes.io/exclude-from-external-load-balancers",
		}},
		{"all nodes excluded, which is ignored", func(f *doctor.Facts) { excluded(f); f.IgnoreExclude = true }, "", nil},
		{"one node excluded", func(f *doctor.Facts) { f.Nodes[0].Excluded = true }, "", nil},
		{"the nodes of a pool excluded", func(f *doctor.Facts) {
			pools(t, f, "192.168.1.160/32", ", node-selectors: [{match-labels: {rack: '0'}}]")
			f.Nodes[0].Excluded = true
		}, "excluded", []string{
			"node node1 has label node.kubernetes.io/exclude-from-external-load-balancers",
			"node node2 is matched by none of the pool's node-selectors",
		}},
		{
			"the wanted node excluded", func(f *doctor.Facts) { f.Nodes[1].Excluded = true }, "excluded",
			[]string{"Service default/web wants node node2, which has label node.kubernetes.io/exclude-from-external-load-balancers"},
		},
		{
			"the wanted node does not exist", func(f *doctor.Facts) { f.Wishes[0].Node = "nobody" }, "excluded",
			[]string{`Service default/web wants node "nobody", which does not exist`},
		},
		{
			"the wanted node's network is unavailable", func(f *doctor.Facts) { f.Nodes[1].NetworkUnavailable = true }, "excluded",
			[]string{"Service default/web wants node node2, which has condition NetworkUnavailable"},
		},
		{"the port is blocked", func(f *doctor.Facts) { f.Speakers[0].State.Blocked, f.Speakers[1].State.Blocked = true, true }, "port", []string{
			"the speaker of node node1 can talk to no other one", "the speaker of node node2 can talk to no other one",
		}},
		{
			"the port is blocked one way", func(f *doctor.Facts) { f.Speakers[0].State.Members = f.Speakers[0].State.Members[:1] }, "port",
			[]string{"the speaker of node node1 does not see that of node node2"},
		},
		{"a speaker that has just started", func(f *doctor.Facts) {
			f.Speakers[0].State.Members, f.Speakers[0].State.Since = nil, noon
		}, "", nil},
		{"servicelb", rival(doctor.Workload{
			Name: "DaemonSet kube-system/svclb-web-1", Labels: map[string]string{"svccontroller.k3s.cattle.io/svcname": "web"}, Images: []string{"rancher/klipper-lb:v0.4"},
		}), "rival", []string{"DaemonSet kube-system/svclb-web-1, image rancher/klipper-lb:v0.4"}},
		{"kube-vip", rival(doctor.Workload{
			Name: "Pod kube-system/kube-vip-node1", Images: []string{"ghcr.io/kube-vip/kube-vip:v1"}, Env: map[string]string{"svc_enable": "true"},
		}), "rival", []string{"Pod kube-system/kube-vip-node1, image ghcr.io/kube-vip/kube-vip:v1"}},
		{"Cilium", rival(doctor.Workload{Name: "CiliumL2AnnouncementPolicy lan"}), "rival", []string{"CiliumL2AnnouncementPolicy lan"}},
		{"Cilium's pools", rival(doctor.Workload{Name: "CiliumLoadBalancerIPPool blue"}), "rival", []string{"CiliumLoadBalancerIPPool blue"}},
		{
			"PureLB", rival(doctor.Workload{Name: "DaemonSet purelb/lbnodeagent", Images: []string{"registry.gitlab.com/purelb/purelb/lbnodeagent:v0.9"}}),
			"rival",
			[]string{"DaemonSet purelb/lbnodeagent, image registry.gitlab.com/purelb/purelb/lbnodeagent:v0.9"},
		},
		{
			"another MetalLB", rival(doctor.Workload{Name: "Deployment lb/controller", Images: []string{"quay.io/metallb/controller:v0.16.1"}}), "rival",
			[]string{"Deployment lb/controller, image quay.io/metallb/controller:v0.16.1"},
		},
		{
			"another Invar", rival(doctor.Workload{Name: "Deployment lb/controller", Images: []string{"ghcr.io/invar-lb/invar:v1"}}), "rival",
			[]string{"Deployment lb/controller, image ghcr.io/invar-lb/invar:v1"},
		},
		{
			"no strictARP", func(f *doctor.Facts) { f.KubeProxy.StrictARP = false }, "strict-arp",
			[]string{"ConfigMap kube-system/kube-proxy: mode: ipvs, ipvs.strictARP: false"},
		},
		{"another mode needs no strictARP", func(f *doctor.Facts) { f.KubeProxy = doctor.KubeProxy{Source: "x", Mode: "nftables"} }, "", nil},
		{"a foreign host", func(f *doctor.Facts) {
			c := explain.Conflict{Addr: netip.MustParseAddr("192.168.1.160"), MAC: "02:00:00:00:00:01", Interface: "eth0"}
			f.Speakers[0].State.Conflicts = []explain.Conflict{c}
			c.Node = "node1"
			f.Controllers[0].State.Conflicts = []explain.Conflict{c}
		}, "conflict", []string{"MAC 02:00:00:00:00:01 answers on interface eth0 of node node1"}},
		{"overlaps", func(f *doctor.Facts) {
			pools(t, f, "192.168.1.0/24, 10.96.0.0/24, 10.244.1.0-10.244.2.9, 192.168.2.0/24", "")
		}, "overlap", []string{
			"10.244.1.0-10.244.2.9 overlaps 10.244.0.0/16, the pods of a node",
			"10.96.0.0/24 overlaps 10.96.0.0/16, Services",
			"192.168.1.0/24 overlaps 192.168.1.11/32, node node1",
		}},
		{"no interface", func(f *doctor.Facts) { pools(t, f, "192.168.1.160/32", ", interfaces: [bond0]") }, "interface", []string{
			"node node1: the pool wants bond0; there are lo (loopback), eth0 (not one of the pool's), eth1 (not one of the pool's) and wlan0 (not one of the pool's)",
			"node node2: the pool wants bond0; there are lo (loopback), eth0 (not one of the pool's), eth1 (not one of the pool's) and wlan0 (not one of the pool's)",
		}},
		{"an interface on one node is enough", func(f *doctor.Facts) {
			f.Speakers[1].State.Interfaces = f.Speakers[1].State.Interfaces[:1]
		}, "", nil},
		{"a speaker whose interfaces are not known", func(f *doctor.Facts) {
			pools(t, f, "192.168.1.160/32", ", interfaces: [bond0]")
			f.Speakers[1].State = nil
		}, "", nil},
		{"strict reverse path", func(f *doctor.Facts) { pools(t, f, "10.9.0.100-10.9.0.110", "") }, "rp-filter", []string{
			"node node1: eth1 carries pool default with rp_filter 1, and the default route leads elsewhere",
			"node node2: eth1 carries pool default with rp_filter 1, and the default route leads elsewhere",
		}},
		{"loose reverse path", func(f *doctor.Facts) {
			pools(t, f, "10.9.0.100-10.9.0.110", "")
			for _, s := range f.Speakers {
				s.State.Interfaces[2].RPFilter = 2
			}
		}, "", nil},
		{"a radio", func(f *doctor.Facts) {
			pools(t, f, "10.8.0.100/32", "")
			f.Speakers[0].State.Interfaces[3].Promiscuous = true
		}, "promiscuous", []string{"node node2: wlan0 is wireless, not promiscuous, and carries pool default"}},
		{
			"clocks", func(f *doctor.Facts) { f.Speakers[1].State.Now = noon.Add(-5 * time.Second) }, "clock",
			[]string{"the clock of node node1 is at least 4.9s ahead of that of node node2"},
		},
		{
			"versions", func(f *doctor.Facts) { f.Speakers[1].State.Version = "v2" }, "version",
			[]string{"v1: speaker speaker-node1, controller controller-1 and this tool", "v2: speaker speaker-node2"},
		},
		{"a tool without a version", func(f *doctor.Facts) { f.Version = "devel" }, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := healthy(t)
			tt.seed(f)
			r := doctor.Examine(f)
			var got []string
			for _, found := range r.Findings {
				if found.Check != tt.check {
					t.Errorf("finding of %q: %+v", found.Check, found)
				}
				if found.What == "" || found.Do == "" {
					t.Errorf("finding says not enough: %+v", found)
				}
				got = append(got, found.Evidence...)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("evidence (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	f := healthy(t)
	f.Speakers[0].State, f.Speakers[0].Failure = nil, "connection refused"
	f.Controllers[0].State, f.Controllers[0].Failure = nil, "forbidden"
	f.Unlearnt = []string{"the ranges of the Services: forbidden"}
	want := []string{
		"node node1: its speaker speaker-node1 could not be asked: connection refused",
		"the controller controller-1 could not be asked: forbidden",
		"the ranges of the Services: forbidden",
	}
	if diff := cmp.Diff(want, doctor.Examine(f).Unknown); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}
}

func TestLongEvidence(t *testing.T) {
	f := healthy(t)
	var many []string
	for i := range 20 {
		many = append(many, fmt.Sprintf("192.168.1.%d/32", 160+i))
	}
	f.Used = ranges("pod x", many...)
	r := doctor.Examine(f)
	if len(r.Findings) != 1 || len(r.Findings[0].Evidence) != 9 || !strings.HasPrefix(r.Findings[0].Evidence[8], "and 2 more") {
		t.Errorf("got %+v", r.Findings)
	}
}
