package speaker

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

const pools = `
address-pools:
- name: default
  protocol: layer2
  addresses: [192.168.1.160-192.168.1.169, 2001:db8::160/124]
- name: edge
  protocol: layer2
  addresses: [10.0.0.0/28]
  interfaces: [vlan10]
  node-selectors:
  - match-labels: {zone: edge}
  - match-expressions:
    - {key: role, operator: In, values: [router]}
`

var equate = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}),
	cmp.AllowUnexported(facts{}, announced{}),
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func name(text string) cache.ObjectName { return cache.NewObjectName("default", text) }

// service returns a Service of policy Cluster that shows addresses of ours.
func service(text string, addrs ...string) kube.Service {
	svc := kube.Service{Name: name(text), AllocatedFrom: "default"}
	for _, a := range addrs {
		svc.Ingress = append(svc.Ingress, addr(a))
	}
	return svc
}

// with returns svc changed.
func with(svc kube.Service, change func(*kube.Service)) kube.Service {
	change(&svc)
	return svc
}

// world returns inputs with three speakers that can announce, two of them on nodes that pool edge selects, and with
// endpoints of every Service on node1.
func world(t *testing.T, services ...kube.Service) *inputs {
	t.Helper()
	cfg, err := config.Parse(pools)
	if err != nil {
		t.Fatal(err)
	}
	able := membership.Meta{Announcing: true}
	return &inputs{
		services: services,
		serving:  on("node1"),
		nodes: map[string]kube.Node{
			"node1": {Name: "node1", Labels: map[string]string{"role": "worker"}},
			"node2": {Name: "node2", Labels: map[string]string{"role": "router"}},
			"node3": {Name: "node3", Labels: map[string]string{"zone": "edge"}},
		},
		peers: []membership.Peer{{Name: "node1", Meta: able}, {Name: "node2", Meta: able}, {Name: "node3", Meta: able}},
		pools: cfg.Pools,
	}
}

// on makes every Service have serving endpoints on these nodes, and only there.
func on(nodes ...string) func(cache.ObjectName) kube.Serving {
	s := kube.Serving{Any: true, Nodes: map[string]bool{}}
	for _, n := range nodes {
		s.Nodes[n] = true
	}
	return func(cache.ObjectName) kube.Serving { return s }
}

// each makes each Service have endpoints of its own.
func each(by map[string]kube.Serving) func(cache.ObjectName) kube.Serving {
	return func(service cache.ObjectName) kube.Serving { return by[service.Name] }
}

func TestGatherEligible(t *testing.T) {
	local := func(s *kube.Service) { s.Local = true }
	everybody := []string{"node1", "node2", "node3"}
	tests := []struct {
		name string
		in   func(*testing.T) *inputs
		want map[string][]string // by address; an address that is nobody's business is missing
	}{
		{
			name: "no Service", in: func(t *testing.T) *inputs { return world(t) },
			want: map[string][]string{},
		},
		{
			name: "Service without an address", in: func(t *testing.T) *inputs { return world(t, service("echo")) },
			want: map[string][]string{},
		},
		{
			name: "policy Cluster", in: func(t *testing.T) *inputs { return world(t, service("echo", "192.168.1.160")) },
			want: map[string][]string{"192.168.1.160": everybody},
		},
		{
			name: "dual stack",
			in:   func(t *testing.T) *inputs { return world(t, service("echo", "192.168.1.160", "2001:db8::160")) },
			want: map[string][]string{"192.168.1.160": everybody, "2001:db8::160": everybody},
		},
		{
			name: "policy Cluster, endpoints on no node",
			in: func(t *testing.T) *inputs {
				in := world(t, service("echo", "192.168.1.160"))
				in.serving = on()
				return in
			},
			want: map[string][]string{"192.168.1.160": everybody},
		},
		{
			name: "no endpoint at all",
			in: func(t *testing.T) *inputs {
				in := world(t, service("cluster", "192.168.1.160"), with(service("local", "192.168.1.161"), local))
				in.serving = each(nil)
				return in
			},
			want: map[string][]string{"192.168.1.160": nil, "192.168.1.161": nil},
		},
		{
			name: "policy Local",
			in:   func(t *testing.T) *inputs { return world(t, with(service("echo", "192.168.1.160"), local)) },
			want: map[string][]string{"192.168.1.160": {"node1"}},
		},
		{
			name: "policy Local, endpoints on two nodes and on one without a speaker",
			in: func(t *testing.T) *inputs {
				in := world(t, with(service("echo", "192.168.1.160"), local))
				in.serving = on("node3", "node1", "node9")
				return in
			},
			want: map[string][]string{"192.168.1.160": {"node1", "node3"}},
		},
		{
			name: "policy Local, endpoints on no node",
			in: func(t *testing.T) *inputs {
				in := world(t, with(service("echo", "192.168.1.160"), local))
				in.serving = on()
				return in
			},
			want: map[string][]string{"192.168.1.160": nil},
		},
		{
			name: "node selectors: any of them",
			in:   func(t *testing.T) *inputs { return world(t, service("echo", "10.0.0.1")) },
			want: map[string][]string{"10.0.0.1": {"node2", "node3"}},
		},
		{
			name: "node selectors and policy Local",
			in: func(t *testing.T) *inputs {
				in := world(t, with(service("echo", "10.0.0.1"), local))
				in.serving = on("node1", "node3")
				return in
			},
			want: map[string][]string{"10.0.0.1": {"node3"}},
		},
		{
			name: "node selectors, a node that is not known yet",
			in: func(t *testing.T) *inputs {
				in := world(t, service("echo", "10.0.0.1"))
				delete(in.nodes, "node3")
				return in
			},
			want: map[string][]string{"10.0.0.1": {"node2"}},
		},
		{
			name: "foreign address, in no pool and not from us",
			in: func(t *testing.T) *inputs {
				return world(t, with(service("echo", "203.0.113.1"), func(s *kube.Service) { s.AllocatedFrom = "" }))
			},
			want: map[string][]string{},
		},
		{
			name: "in a pool, though nobody says from which: MetalLB's",
			in: func(t *testing.T) *inputs {
				return world(t, with(service("echo", "192.168.1.160"), func(s *kube.Service) { s.AllocatedFrom = "" }))
			},
			want: map[string][]string{"192.168.1.160": everybody},
		},
		{
			name: "stranded: from us, in no pool any more",
			in:   func(t *testing.T) *inputs { return world(t, service("echo", "203.0.113.1")) },
			want: map[string][]string{"203.0.113.1": everybody},
		},
		{
			name: "stranded since no configuration is known",
			in: func(t *testing.T) *inputs {
				in := world(t, service("echo", "192.168.1.160"))
				in.pools = nil
				return in
			},
			want: map[string][]string{"192.168.1.160": everybody},
		},
		{
			name: "of another class",
			in: func(t *testing.T) *inputs {
				return world(t, with(service("echo", "192.168.1.160"), func(s *kube.Service) { s.Class = "other" }))
			},
			want: map[string][]string{},
		},
		{
			name: "of the class that is served, and without one",
			in: func(t *testing.T) *inputs {
				in := world(t, service("none", "192.168.1.160"),
					with(service("ours", "192.168.1.161"), func(s *kube.Service) { s.Class = "ours" }))
				in.class = "ours"
				return in
			},
			want: map[string][]string{"192.168.1.161": everybody},
		},
		{
			name: "shared: whoever may announce it for one of them",
			in: func(t *testing.T) *inputs {
				in := world(t, with(service("a", "192.168.1.160"), local), with(service("b", "192.168.1.160"), local))
				in.serving = each(map[string]kube.Serving{
					"a": {Any: true, Nodes: map[string]bool{"node3": true}},
					"b": {Any: true, Nodes: map[string]bool{"node1": true, "node3": true}},
				})
				return in
			},
			want: map[string][]string{"192.168.1.160": {"node1", "node3"}},
		},
		{
			name: "shared, one of them without an endpoint",
			in: func(t *testing.T) *inputs {
				in := world(t, service("a", "192.168.1.160"), service("b", "192.168.1.160"))
				in.serving = each(map[string]kube.Serving{"b": {Any: true}})
				return in
			},
			want: map[string][]string{"192.168.1.160": everybody},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string][]string{}
			for _, a := range gather(*tt.in(t)).addresses {
				got[a.Addr.String()] = a.Eligible
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGatherCandidates(t *testing.T) {
	exclude := func(in *inputs) { in.nodes["node2"] = kube.Node{Name: "node2", Excluded: true} }
	tests := []struct {
		name   string
		change func(*inputs)
		want   []string
	}{
		{"all", func(*inputs) {}, []string{"node1", "node2", "node3"}},
		{"in whatever order the peers come", func(in *inputs) {
			in.peers[0], in.peers[2] = in.peers[2], in.peers[0]
		}, []string{"node1", "node2", "node3"}},
		{"a speaker that is gone", func(in *inputs) { in.peers = in.peers[1:] }, []string{"node2", "node3"}},
		{"a speaker that can't announce", func(in *inputs) {
			in.peers[0].Meta.Announcing = false
		}, []string{"node2", "node3"}},
		{"an excluded node", exclude, []string{"node1", "node3"}},
		{"an excluded node, and the label is ignored", func(in *inputs) {
			exclude(in)
			in.ignoreExclude = true
		}, []string{"node1", "node2", "node3"}},
		{"a node without network", func(in *inputs) {
			in.nodes["node3"] = kube.Node{Name: "node3", NetworkUnavailable: true}
		}, []string{"node1", "node2"}},
		{"a node without network, and the label is ignored", func(in *inputs) {
			in.nodes["node3"] = kube.Node{Name: "node3", NetworkUnavailable: true, Excluded: true}
			in.ignoreExclude = true
		}, []string{"node1", "node2"}},
		{"a node that the cache does not know yet", func(in *inputs) { delete(in.nodes, "node3") }, []string{"node1", "node2", "node3"}},
		{"a draining speaker stays a candidate", func(in *inputs) {
			in.peers[1].Meta.Draining = true
		}, []string{"node1", "node2", "node3"}},
		{"nobody", func(in *inputs) { in.peers = nil }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := world(t, service("echo", "192.168.1.160"))
			tt.change(in)
			want := []election.Address{{Addr: addr("192.168.1.160"), Eligible: tt.want}}
			if diff := cmp.Diff(want, gather(*in).addresses, equate); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestGather looks at everything that comes out, in a world with a bit of all.
func TestGather(t *testing.T) {
	in := world(t,
		with(service("late", "10.0.0.1", "192.168.1.161"), func(s *kube.Service) { s.AnnounceFrom = "node3" }),
		service("early", "192.168.1.160"),
		with(service("shared", "192.168.1.160"), func(s *kube.Service) { s.AnnounceFrom = "node9" }),
		service("stranded", "203.0.113.1"),
	)
	in.peers[1].Meta.Draining = true
	everybody := []string{"node1", "node2", "node3"}
	want := facts{
		addresses: []election.Address{
			{Addr: addr("10.0.0.1"), Eligible: []string{"node2", "node3"}, Prefer: "node3"},
			{Addr: addr("192.168.1.160"), Eligible: everybody, Prefer: "node9"},
			{Addr: addr("192.168.1.161"), Eligible: everybody, Prefer: "node3"},
			{Addr: addr("203.0.113.1"), Eligible: everybody},
		},
		announce: map[netip.Addr]layer2.Announcement{
			addr("10.0.0.1"): {Interfaces: []string{"vlan10"}}, addr("192.168.1.160"): {},
			addr("192.168.1.161"): {}, addr("203.0.113.1"): {},
		},
		services: map[netip.Addr][]cache.ObjectName{
			addr("10.0.0.1"): {name("late")}, addr("192.168.1.161"): {name("late")},
			addr("192.168.1.160"): {name("early"), name("shared")}, addr("203.0.113.1"): {name("stranded")},
		},
		draining: map[string]bool{"node2": true},
		live:     map[string]bool{"node1": true, "node2": true, "node3": true},
	}
	if diff := cmp.Diff(want, gather(*in), equate); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestInputs leaves out what is no load balancer: an API server that does not know the field selector sends it.
func TestInputs(t *testing.T) {
	s := newSpeaker(t)
	s.store(t, object("echo", corev1.ServiceTypeLoadBalancer), object("plain", corev1.ServiceTypeClusterIP))
	in := s.inputs(nil)
	var got []string
	for _, svc := range in.services {
		got = append(got, svc.Name.String())
	}
	if diff := cmp.Diff([]string{"default/echo"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
