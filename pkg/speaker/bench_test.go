package speaker

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
	"github.com/invar-lb/invar/pkg/netif"
)

// crowd is a speaker among many, in whose caches there are as many nodes, and Services of which each has an address and endpoints on
// three nodes.
type crowd struct {
	*testSpeaker
	peers  []membership.Peer
	pools  []config.Pool
	claims election.Claims
	all    map[string]layer2.Abilities
}

func newCrowd(tb testing.TB, services, nodes int) *crowd {
	tb.Helper()
	cfg, err := config.Parse("address-pools: [{name: default, protocol: layer2, addresses: [10.50.0.0/16]}]")
	if err != nil {
		tb.Fatal(err)
	}
	c := &crowd{testSpeaker: newSpeaker(tb), pools: cfg.Pools, claims: election.Claims{}, all: map[string]layer2.Abilities{}}
	add := func(err error) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	node := func(i int) string { return fmt.Sprintf("node%d", 1+i%nodes) }
	for i := range nodes {
		c.peers = append(c.peers, membership.Peer{Name: node(i), Meta: membership.Meta{Announcing: true}})
		add(c.nodes.GetStore().Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node(i)}}))
		c.all[node(i)] = onLAN(i)
	}
	at := netip.MustParseAddr("10.50.0.0")
	for i := range services {
		svc := object(fmt.Sprintf("service-%d", i), corev1.ServiceTypeLoadBalancer)
		svc.Annotations = map[string]string{kube.AnnotationAllocatedFrom: "default"}
		svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
		svc.Spec.Ports = []corev1.ServicePort{{Port: 80}, {Port: 443}}
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: at.String()}}
		c.store(tb, svc)
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace, Name: svc.Name + "-pods", Labels: map[string]string{discoveryv1.LabelServiceName: svc.Name},
		}}
		for e := range 3 {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{NodeName: new(node(3*i + e))})
		}
		add(c.slices.GetStore().Add(slice))
		c.claims.Merge(election.Claim{Addr: at, Node: node(i), Seq: 1})
		at = at.Next()
	}
	return c
}

// onLAN returns what the i-th node of a LAN can carry.
func onLAN(i int) layer2.Abilities {
	return netif.NewSnapshot(netif.Interface{
		Index: 2, Name: "eth0", MAC: netif.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}, Carrier: true, Skip: netif.Eligible,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.0.1/16"), netip.MustParsePrefix("fe80::1/64")},
	}).Abilities(nil, nil, nil)
}

// look is what a speaker does to know what it should hold: see Speaker.look.
func (c *crowd) look(claims election.Claims) election.Decision {
	in := c.inputsOfLook(c.peers)
	in.pools = c.pools
	in.abilities = c.all
	f := gather(in)
	return c.node.Decide(election.View{
		Now: time.Now(), Addresses: f.addresses, Live: f.live, Draining: f.draining, Known: len(c.peers), Claims: claims, Able: true,
	})
}

func BenchmarkLook(b *testing.B) {
	for _, size := range []struct{ services, nodes int }{{100, 10}, {1000, 50}, {5000, 200}} {
		b.Run(fmt.Sprintf("services=%d/nodes=%d", size.services, size.nodes), func(b *testing.B) {
			c := newCrowd(b, size.services, size.nodes)
			b.ReportAllocs()
			for b.Loop() {
				if d := c.look(c.claims); len(d.Hold) == 0 {
					b.Fatal("node1 holds nothing")
				}
			}
		})
	}
}

// BenchmarkLookUnclaimed is the worst case of a look: nobody holds anything yet.
func BenchmarkLookUnclaimed(b *testing.B) {
	c := newCrowd(b, 5000, 200)
	for b.Loop() {
		c.look(election.Claims{})
	}
}
