package explain

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var (
	vip   = netip.MustParseAddr("192.168.1.160")
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// subject returns a Service that shows addresses.
func subject(addrs ...netip.Addr) Subject {
	return Subject{Name: "shop/web", Type: "LoadBalancer", Addrs: addrs}
}

// world returns a cluster of three nodes, of which node2 announces vip.
func world() *Cluster {
	c := &Cluster{Controller: &ControllerState{
		Identity: "controller-1", Leading: true, Listening: true,
		Service: &Service{Name: "shop/web", Addrs: []netip.Addr{vip}, Pools: []string{"default"}, Reason: "Allocated", Message: "ok"},
		Holders: []Holder{{Addr: vip, Node: "node2", Interfaces: []string{"eth0"}, Since: epoch}},
	}}
	c.Controller.Services = []Service{*c.Controller.Service}
	nodes := []string{"node1", "node2", "node3"}
	for _, node := range nodes {
		a := Address{
			Addr: vip, Services: []string{"shop/web"}, Pool: "default", Holder: "node2", Interfaces: []string{"eth0"},
			Nodes: []Eligibility{{Node: "node1"}, {Node: "node2"}, {Node: "node3"}},
		}
		if node == "node2" {
			a.Role, a.Since = RoleHold, epoch
		}
		c.Speakers = append(c.Speakers, SpeakerState{Node: node, Now: epoch, Addresses: []Address{a}})
		c.Pods = append(c.Pods, Pod{Name: "speaker-" + node, Node: node, Speaker: true, Ready: true})
	}
	c.Pods = append(c.Pods, Pod{Name: "controller-1", Node: "node1", Ready: true})
	return c
}

// bar makes nodes be barred, as all speakers see it, and vip nobody's.
func (c *Cluster) bar(bar Bar, nodes ...string) *Cluster {
	for i := range c.Speakers {
		a := &c.Speakers[i].Addresses[0]
		a.Role = RoleNone
		for k := range a.Nodes {
			for _, node := range nodes {
				if a.Nodes[k].Node == node {
					a.Nodes[k].Bar = bar
				}
			}
		}
	}
	c.Controller.Holders = nil
	return c
}

func TestWhy(t *testing.T) {
	all := []string{"node1", "node2", "node3"}
	tests := []struct {
		name    string
		cluster func() *Cluster
		subject Subject
		summary string
		served  bool
		nodes   string // "node: text" lines of the first address
		doubts  []string
	}{
		{
			name: "fine", cluster: world, subject: subject(vip), served: true,
			summary: "It is served: 192.168.1.160 is announced by node2 on eth0.",
			nodes: "node1: could; node2 holds it, and a holder keeps its address\nnode2: announces it on eth0\n" +
				"node3: could; node2 holds it, and a holder keeps its address\n",
		},
		{
			name: "another type", cluster: world, subject: Subject{Name: "shop/web", Type: "ClusterIP"},
			summary: "It is of type ClusterIP: only Services of type LoadBalancer get an address.",
		},
		{
			name: "class", cluster: world, subject: Subject{Name: "shop/web", Type: "LoadBalancer", Class: "other"},
			summary: "Its spec.loadBalancerClass is other; this controller serves Services without a class (see --lb-class).",
		},
		{
			name: "refused", subject: subject(),
			cluster: func() *Cluster {
				c := world()
				c.Controller.Service = &Service{Waiting: true, Reason: "Refused", Message: "pool default: 10 of 10 addresses in use"}
				return c
			},
			summary: "It has no address: pool default: 10 of 10 addresses in use.",
		},
		{
			name: "refused a change", subject: subject(vip),
			cluster: func() *Cluster {
				c := world()
				c.Controller.Service.Waiting, c.Controller.Service.Reason = true, "Refused"
				c.Controller.Service.Message = "address 192.168.1.161: in use by shop/api, not shared; it keeps 192.168.1.160"
				return c
			},
			summary: "It does not have what it asks for: address 192.168.1.161: in use by shop/api, not shared; it keeps 192.168.1.160.",
			nodes: "node1: could; node2 holds it, and a holder keeps its address\nnode2: announces it on eth0\n" +
				"node3: could; node2 holds it, and a holder keeps its address\n",
		},
		{
			name: "no endpoint", subject: subject(vip), cluster: func() *Cluster { return world().bar(BarNoEndpoint, all...) },
			summary: "Nobody announces 192.168.1.160: no endpoint of the Service takes traffic.",
			nodes: "node1: no endpoint of the Service takes traffic\nnode2: no endpoint of the Service takes traffic\n" +
				"node3: no endpoint of the Service takes traffic\n",
		},
		{
			name: "a reason for each node", subject: subject(vip),
			cluster: func() *Cluster {
				return world().bar(BarExcluded, "node1").bar(BarNotLocal, "node2").bar(BarNoSpeaker, "node3")
			},
			summary: "Nobody announces 192.168.1.160: node1: label node.kubernetes.io/exclude-from-external-load-balancers excludes it; " +
				"node2: externalTrafficPolicy is Local, and no endpoint there takes traffic; node3: no speaker is alive there.",
			nodes: "node1: label node.kubernetes.io/exclude-from-external-load-balancers excludes it\n" +
				"node2: externalTrafficPolicy is Local, and no endpoint there takes traffic\nnode3: no speaker is alive there\n",
		},
		{
			name: "no interface", subject: subject(vip),
			cluster: func() *Cluster {
				c := world().bar(BarNoInterface, all...)
				c.Speakers[0].Addresses[0].NoInterface = "interface eth9: no such interface"
				return c
			},
			summary: "Nobody announces 192.168.1.160: node1, node2, node3: interface eth9: no such interface.",
			nodes: "node1: interface eth9: no such interface\nnode2: no interface there can carry it\n" +
				"node3: no interface there can carry it\n",
		},
		{
			name: "nobody, though some could", subject: subject(vip), cluster: func() *Cluster { return world().bar(BarExcluded, "node1") },
			summary: "Nobody announces 192.168.1.160: node2, node3 could, and will in a moment, unless cut off from the others.",
			nodes:   "node1: label node.kubernetes.io/exclude-from-external-load-balancers excludes it\nnode2: could\nnode3: could\n",
		},
		{
			name: "conflict", subject: subject(vip),
			cluster: func() *Cluster {
				c := world().bar(BarNone)
				c.Speakers[1].Addresses[0].Role = RoleProbe
				c.Speakers[1].Conflicts = []Conflict{{Addr: vip, MAC: "02:00:00:00:00:99", Interface: "eth0"}}
				return c
			},
			summary: "Nobody announces 192.168.1.160: a host outside the cluster uses it: 02:00:00:00:00:99 (seen from node node2 on eth0).",
			nodes:   "node1: could\nnode2: asks the LAN whether it is free\nnode3: could\n",
		},
		{
			name: "two nodes", subject: subject(vip),
			cluster: func() *Cluster {
				c := world()
				c.Speakers[2].Addresses[0].Role = RoleHold
				return c
			},
			summary: "192.168.1.160 is announced by more than one node, node2 on eth0 and node3 on eth0: it is moving, or they can't talk " +
				"to each other.",
			nodes: "node1: could; node2 holds it, and a holder keeps its address\nnode2: announces it on eth0\nnode3: announces it on eth0\n",
		},
		{
			name: "a speaker that can't be asked", subject: subject(vip), served: true,
			cluster: func() *Cluster {
				c := world()
				c.Speakers = []SpeakerState{c.Speakers[0], c.Speakers[2]} // node2, which holds it, says nothing
				c.Pods[1].Failure = "no answer within 5s"
				return c
			},
			summary: "It is served: 192.168.1.160 is announced by node2 on eth0.",
			nodes: "node1: could; node2 holds it, and a holder keeps its address\nnode2: announces it on eth0\n" +
				"node3: could; node2 holds it, and a holder keeps its address\n",
			doubts: []string{"Pod speaker-node2 on node node2 can't be asked: no answer within 5s."},
		},
		{
			name: "nothing can be asked, and the conditions are good", served: true,
			subject: Subject{
				Name: "shop/web", Type: "LoadBalancer", Addrs: []netip.Addr{vip}, Allocated: Condition{True: true, Reason: "Allocated"},
				Announced: Condition{True: true, Reason: "Announced", Message: "192.168.1.160 from node node2 on eth0"},
			},
			cluster: func() *Cluster { return &Cluster{NoController: "list pods: forbidden"} },
			summary: "By its conditions it is served: 192.168.1.160 from node node2 on eth0.",
			doubts:  []string{"The controller can't be asked: list pods: forbidden."},
		},
		{
			name: "nothing can be asked, and by its conditions another host uses the address",
			subject: Subject{
				Name: "shop/web", Type: "LoadBalancer", Addrs: []netip.Addr{vip}, Allocated: Condition{True: true, Reason: "Allocated"},
				Announced: Condition{True: true, Reason: "Announced", Message: "192.168.1.160 from node node2 on eth0"},
				Conflict:  Condition{True: true, Reason: "ForeignHost", Message: "192.168.1.160 is used by 02:00:00:00:00:99"},
			},
			cluster: func() *Cluster { return &Cluster{NoController: "list pods: forbidden"} },
			summary: "By its condition, 192.168.1.160 is used by 02:00:00:00:00:99.",
			doubts:  []string{"The controller can't be asked: list pods: forbidden."},
		},
		{
			name:    "nothing can be asked",
			subject: Subject{Name: "shop/web", Type: "LoadBalancer", Allocated: Condition{Reason: "Refused", Message: "pool full"}},
			cluster: func() *Cluster {
				return &Cluster{NoController: "port-forward: forbidden", Pods: []Pod{{Name: "speaker-1", Node: "node1", Speaker: true, Failure: "forbidden"}}}
			},
			summary: "It has no address: pool full.",
			doubts: []string{
				"The controller can't be asked: port-forward: forbidden.",
				"Pod speaker-1 on node node1 can't be asked: forbidden.",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.cluster().Why(tt.subject)
			if diff := cmp.Diff(tt.summary, w.Summary); diff != "" || w.Served != tt.served {
				t.Errorf("served %v, want %v; summary (-want +got):\n%s", w.Served, tt.served, diff)
			}
			var nodes strings.Builder
			if len(w.Addresses) > 0 {
				for _, n := range w.Addresses[0].Nodes {
					nodes.WriteString(n.Node + ": " + n.Text + "\n")
				}
			}
			if diff := cmp.Diff(tt.nodes, nodes.String()); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.doubts, w.Doubts, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("doubts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPending has pods that no node has taken yet.
func TestPending(t *testing.T) {
	c := world()
	c.Pods = []Pod{{Name: "speaker-1", Speaker: true}, {Name: "controller-1", Failure: "pod not found"}}
	want := []string{"Pod speaker-1 is not ready: no node has taken it.", "Pod controller-1 can't be asked: pod not found."}
	if diff := cmp.Diff(want, c.doubts()); diff != "" {
		t.Errorf("doubts (-want +got):\n%s", diff)
	}
}

// TestMoves puts together what speakers and controller tell of one move.
func TestMoves(t *testing.T) {
	c := world()
	move := Move{At: epoch, Addr: vip, From: "node1", To: "node2", Cause: "failure", Took: 150 * time.Millisecond}
	later := Move{At: epoch.Add(time.Minute), Addr: vip, From: "node2", To: "node3", Cause: "drain"}
	c.Speakers[1].Moves = []Move{move}
	again := move
	again.At = again.At.Add(2 * time.Millisecond)
	c.Controller.Moves = []Move{later, again, {At: epoch.Add(-time.Hour), Addr: vip, To: "node1", Cause: "first"}, {At: epoch, Addr: netip.MustParseAddr("192.168.1.161"), To: "node1", Cause: "first"}}
	opt := cmpopts.EquateComparable(netip.Addr{})
	if diff := cmp.Diff([]Move{later, move}, c.movesOf(vip, epoch, 5), opt); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Move{later}, c.movesOf(vip, epoch, 1), opt); diff != "" {
		t.Errorf("the last move (-want +got):\n%s", diff)
	}
}

func TestHeldByAndIdle(t *testing.T) {
	c := world()
	if held, state := c.HeldBy(vip, "node2"); !held {
		t.Errorf("node2 does not hold it: %s", state)
	}
	if held, state := c.HeldBy(vip, "node1"); held || state != "192.168.1.160 is announced by node2 on eth0" {
		t.Errorf("node1: %v, %q", held, state)
	}
	c.bar(BarExcluded, "node1")
	want := "node1 may not announce 192.168.1.160: label node.kubernetes.io/exclude-from-external-load-balancers excludes it"
	if held, state := c.HeldBy(vip, "node1"); held || state != want {
		t.Errorf("node1, excluded: %v, %q, want %q", held, state, want)
	}
	c = world()
	for node, want := range map[string]bool{"node1": true, "node2": false, "node9": true} {
		if idle, state := c.Idle(node); idle != want {
			t.Errorf("%s is idle: %v, %s", node, idle, state)
		}
	}
	c.Speakers = c.Speakers[1:]
	if idle, _ := c.Idle("node1"); idle {
		t.Error("node1 is said to be idle, though its speaker can't be asked")
	}
	want = "who announces 192.168.1.160 is not known: The controller can't be asked: forbidden."
	if held, state := (&Cluster{NoController: "forbidden"}).HeldBy(vip, "node1"); held || state != want {
		t.Errorf("nothing can be asked: %v, %q, want %q", held, state, want)
	}
}

func TestStatus(t *testing.T) {
	c := world()
	other := subject()
	other.Name, other.Allocated = "shop/api", Condition{Reason: "Refused", Message: "pool default: full"}
	foreign := subject()
	foreign.Name, foreign.Class = "shop/other", "theirs"
	c.Controller.Pools = []Pool{{Name: "default", Family: "IPv4", Total: 10, InUse: 1, Services: 1}}
	c.Controller.Service = nil
	c.Controller.Members = []Member{{Name: "node1", Announcing: true}, {Name: "node2", Announcing: true, Draining: true}}
	c.Speakers = nil
	got := c.Status([]Subject{subject(vip), other, foreign})
	want := Status{
		Pools: c.Controller.Pools,
		Services: []StatusService{
			{Service: "shop/api", Note: "pool default: full"},
			{Service: "shop/web", Addr: vip, Pool: "default", Holder: &c.Controller.Holders[0]},
		},
		Config: &Config{},
		Members: []StatusMember{
			{Node: "node1", Pod: "speaker-node1", State: "announcing"},
			{Node: "node2", Pod: "speaker-node2", Addresses: 1, State: "draining"},
			{Node: "node3", Pod: "speaker-node3", State: "no member"},
			{Node: "node1", Pod: "controller-1", Controller: true, State: "leads"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// TestStatusUnknown has Services of which neither controller nor speakers can be asked: what is not known is not said to be so.
func TestStatusUnknown(t *testing.T) {
	c := world()
	c.Controller, c.NoController, c.Speakers = nil, "forbidden", nil
	for i := range c.Pods {
		c.Pods[i].Failure = "forbidden"
	}
	web := subject(vip)
	web.Class = "ours"
	web.Allocated = Condition{True: true, Reason: "Allocated", Message: "has 192.168.1.160"}
	web.Announced = Condition{True: true, Reason: "Announced", Message: "192.168.1.160 from node node2 on eth0"}
	waits, foreign := subject(), subject()
	waits.Name, foreign.Name, foreign.Class = "shop/waits", "shop/foreign", "theirs"
	got := c.Status([]Subject{web, waits, foreign})
	want := Status{
		Pools: []Pool{},
		Services: []StatusService{
			{Service: "shop/waits", Note: "the controller has not come to it"},
			{Service: "shop/web", Addr: vip, Unknown: true, Note: "by its condition 192.168.1.160 from node node2 on eth0"},
		},
		Members: []StatusMember{
			{Node: "node1", Pod: "speaker-node1", State: "not known"},
			{Node: "node2", Pod: "speaker-node2", State: "not known"},
			{Node: "node3", Pod: "speaker-node3", State: "not known"},
			{Node: "node1", Pod: "controller-1", Controller: true, State: "not known"},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(Status{}, "Doubts")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// TestStatusBySpeakers has a controller that can't be asked: the speakers know the configuration and the holders.
func TestStatusBySpeakers(t *testing.T) {
	c := world()
	c.Controller = nil
	c.Speakers[0].Config = Config{Pools: 2}
	got := c.Status([]Subject{subject(vip)})
	if diff := cmp.Diff(&Config{Pools: 2}, got.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if len(got.Services) != 1 || got.Services[0].Holder == nil || got.Services[0].Holder.Node != "node2" || got.Services[0].Unknown {
		t.Errorf("Services: %+v, want one that node2 announces", got.Services)
	}
}
