package speaker

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

// TestBarsAgree makes random worlds and checks that the nodes without a bar are just those that the election may choose.
func TestBarsAgree(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 7))
		in := randomWorld(t, rng)
		f := gather(*in)
		nodes := map[string]explain.Bar{}
		for node := range in.nodes {
			nodes[node] = explain.BarNoSpeaker
		}
		for _, p := range in.peers {
			nodes[p.Name] = in.unfit(p)
		}
		bars := in.bars(nodes)
		for _, a := range f.addresses {
			var able []string
			for _, e := range bars[a.Addr] {
				if e.Bar == explain.BarNone {
					able = append(able, e.Node)
				}
			}
			if !slices.Equal(able, a.Eligible) {
				t.Fatalf("seed %d: %s: eligible are %v, but without a bar %v: %+v", seed, a.Addr, a.Eligible, able, bars[a.Addr])
			}
		}
		if len(bars) != len(f.addresses) {
			t.Fatalf("seed %d: %d addresses are judged, of %d", seed, len(bars), len(f.addresses))
		}
	}
}

func randomWorld(t *testing.T, rng *rand.Rand) *inputs {
	in := world(t)
	addrs := []string{"192.168.1.160", "192.168.1.161", "10.0.0.1", "172.16.0.1"}
	for i := range rng.IntN(5) {
		svc := service(fmt.Sprint("s", i), addrs[rng.IntN(len(addrs))])
		svc.Local = rng.IntN(2) == 0
		if rng.IntN(4) == 0 {
			svc.AllocatedFrom = ""
		}
		in.services = append(in.services, svc)
	}
	for i := range in.peers {
		in.peers[i].Meta.Announcing = rng.IntN(4) > 0
	}
	in.peers = in.peers[:rng.IntN(len(in.peers)+1)]
	for name, node := range in.nodes {
		node.Excluded, node.NetworkUnavailable = rng.IntN(5) == 0, rng.IntN(5) == 0
		in.nodes[name] = node
	}
	some := map[string]kube.Serving{}
	for i := range 5 {
		s := kube.Serving{Any: rng.IntN(4) > 0, Nodes: map[string]bool{}}
		if s.Any {
			s.Nodes[[]string{"node1", "node2", "node9"}[rng.IntN(3)]] = true
		}
		some[fmt.Sprint("s", i)] = s
	}
	in.serving = func(name cache.ObjectName) kube.Serving { return some[name.Name] }
	return in
}

// TestJudge checks that a speaker which is unable because it can carry no address says so for the right reason.
func TestJudge(t *testing.T) {
	svc := service("echo", "192.168.1.160")
	c := claimant{addr: addr("192.168.1.160"), service: &svc, serving: kube.Serving{Any: true}}
	none := c
	none.serving = kube.Serving{}
	tests := []struct {
		unfit explain.Bar
		c     claimant
		want  explain.Bar
	}{
		{explain.BarNone, c, explain.BarNone},
		{explain.BarUnable, c, explain.BarUnable},
		{explain.BarUnable, none, explain.BarNoEndpoint},
		{explain.BarExcluded, none, explain.BarExcluded},
	}
	for _, tt := range tests {
		if got := world(t).judge(tt.unfit, "node1", &tt.c); got != tt.want {
			t.Errorf("%q becomes %q, want %q", tt.unfit, got, tt.want)
		}
	}
}

func TestMovesRing(t *testing.T) {
	var m moves
	for i := range maxMoves + 10 {
		m.add(explain.Move{To: fmt.Sprint(i)})
	}
	got := m.latest()
	if len(got) != maxMoves || got[0].To != fmt.Sprint(maxMoves+9) || got[maxMoves-1].To != "10" {
		t.Errorf("%d moves, from %s to %s; want the last %d, the newest first", len(got), got[0].To, got[len(got)-1].To, maxMoves)
	}
}

// TestHoldings checks what observers hear: since when, how it came here, and nothing that no interface carries.
func TestHoldings(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2026, 1, 1, 0, 0, seconds, 0, time.UTC) }
	vip, other, bare := addr("192.168.1.160"), addr("192.168.1.161"), addr("192.168.1.162")
	since := map[announced]time.Time{
		{name("echo"), vip}: at(1), {name("web"), vip}: at(5), // it came to share the address
		{name("api"), other}: at(2), {name("bare"), bare}: at(3),
	}
	moved := []explain.Move{
		{At: at(1), Addr: vip, From: "node2", To: "node1", Cause: "failure", Took: time.Second}, {Addr: vip, Cause: "first"},
	}
	doing := []layer2.AddressState{
		{Address: vip, Interfaces: []string{"eth0"}},
		{Address: other, Interfaces: []string{"eth0", "eth1"}},
		{Address: bare},
		{Address: addr("192.168.1.163"), Interfaces: []string{"eth0"}, Tentative: true},
	}
	want := []membership.Holding{
		{Addr: vip, Interfaces: []string{"eth0"}, Since: at(1), From: "node2", Cause: "failure", Took: time.Second},
		{Addr: other, Interfaces: []string{"eth0", "eth1"}, Since: at(2)},
	}
	if diff := cmp.Diff(want, holdings(since, moved, doing), equate); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStateBeforeStart asks a speaker that waits for the API server: it says so, and does not make whoever asks wait.
func TestStateBeforeStart(t *testing.T) {
	s := newSpeaker(t)
	got, err := s.State(httptest.NewRequest("GET", explain.StatePath, nil))
	if err != nil {
		t.Fatal(err)
	}
	state := got.(explain.SpeakerState)
	if state.Node != "node1" || state.NotReady == "" || state.Addresses == nil {
		t.Errorf("state %+v, want that of node1, which is not ready", state)
	}
}

// TestStateLeavesTheWorkerAlone has the worker go on while the larger part of the state is worked out: the race detector sees what
// both use.
func TestStateLeavesTheWorkerAlone(t *testing.T) {
	s := newSpeaker(t)
	var err error
	s.members, err = membership.Start(membership.Config{
		Node: "node1", BindAddr: s.cfg.BindAddr, Key: make([]byte, 32), Logger: s.cfg.Logger, OnChange: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.members.Close() })
	svc := object("echo", corev1.ServiceTypeLoadBalancer)
	svc.Annotations = map[string]string{kube.AnnotationAllocatedFrom: "pool"}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.168.1.160"}}
	s.store(t, svc)
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "echo-1", Labels: map[string]string{discoveryv1.LabelServiceName: "echo"},
		},
		Endpoints: []discoveryv1.Endpoint{{NodeName: new("node1")}},
	}
	if err := s.slices.GetStore().Add(slice); err != nil {
		t.Fatal(err)
	}
	s.peers = s.members.Peers()
	state := explain.SpeakerState{}
	rest := s.tell(&state, s.announcer.State())
	if len(state.Members) != 1 || len(state.Addresses) != 0 {
		t.Errorf("the worker itself tells %+v, want the members and no address", state)
	}
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		for range 100 {
			s.sync()
		}
	}()
	for working := true; working; {
		rest()
		select {
		case <-worked:
			working = false
		default:
		}
	}
	if len(state.Addresses) != 1 || state.Addresses[0].Addr != addr("192.168.1.160") {
		t.Errorf("addresses are %+v, want 192.168.1.160", state.Addresses)
	}
}
