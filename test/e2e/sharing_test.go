//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// Annotations by which a user asks for something.
const (
	wantShared = "metallb.universe.tf/allow-shared-ip"
	wantPool   = "metallb.universe.tf/address-pool"
	wantAddr   = "metallb.universe.tf/loadBalancerIPs"
)

// sharing makes a Service of one port that may share its address with others of the same key.
func sharing(key string, port int32) clustertest.Option {
	return func(s *corev1.Service) {
		clustertest.Annotated(wantShared, key)(s)
		s.Spec.Ports[0].Port = port
	}
}

// TestSharing has Services of one sharing key on one address, which one node announces, for as long as their ports differ.
func TestSharing(t *testing.T) {
	const addr = "192.168.1.160"
	lab.Configure(t, oneOnly)
	lab.Create(t, "web", sharing("team", 80))
	lab.Create(t, "alt", sharing("team", 8080))
	for _, name := range []string{"web", "alt"} {
		lab.WantAddresses(t, name, addr)
	}
	node := lab.WantHolder(t, addr)
	for _, name := range []string{"web", "alt"} {
		lab.WantEvent(t, clustertest.Namespace, "Service", name, "nodeAssigned", fmt.Sprintf("announcing from node %q", node))
	}
	wantHTTPOn(t, addr, 80, 8080)

	// One whose port is taken is refused, and told why: by the pool, and by the address if it asks for that.
	lab.Create(t, "clash", sharing("team", 80))
	lab.WantEvent(t, clustertest.Namespace, "Service", "clash", "AllocationFailed", "pool default: 1 of 1 addresses in use, none that it may share")
	lab.Patch(t, "clash", annotations(wantAddr, addr))
	lab.WantEvent(t, clustertest.Namespace, "Service", "clash", "AllocationFailed", "address 192.168.1.160: port TCP/80 is in use by e2e/web")
	lab.WantAddresses(t, "clash")

	// It joins as soon as the port is free.
	lab.Patch(t, "web", `{"spec":{"ports":[{"port":81,"targetPort":8080}]}}`)
	lab.WantAddresses(t, "clash", addr)
	lab.WantAddresses(t, "web", addr)
	wantHTTPOn(t, addr, 80, 81, 8080)

	// One that leaves takes nothing from those that stay.
	lab.Remove(t, "web")
	wantHTTPOn(t, addr, 80, 8080)
	if now := lab.WantHolder(t, addr); now != node {
		t.Errorf("%s moved from %s to %s, though two of the Services that share it stayed", addr, node, now)
	}
}

// TestSharingRefused has Services on other ports than the holder's that may not share its address nevertheless.
func TestSharingRefused(t *testing.T) {
	lab.Configure(t, oneOnly)
	lab.Create(t, "owner", sharing("team", 80))
	lab.WantAddresses(t, "owner", "192.168.1.160")
	for _, tt := range []struct {
		name   string
		option clustertest.Option
		reason string
	}{
		{"nokey", func(s *corev1.Service) { s.Spec.Ports[0].Port = 81 }, "in use by e2e/owner, not shared"},
		{"otherkey", sharing("others", 82), "in use by e2e/owner, whose sharing key differs"},
		{
			"otherpods", func(s *corev1.Service) { sharing("team", 83)(s); clustertest.Local(s) },
			"in use by e2e/owner, whose external traffic policy or selector differs",
		},
	} {
		lab.Create(t, tt.name, tt.option, requesting("192.168.1.160"))
		lab.WantEvent(t, clustertest.Namespace, "Service", tt.name, "AllocationFailed", "address 192.168.1.160: "+tt.reason)
		lab.WantAddresses(t, tt.name)
	}
	lab.Patch(t, "otherkey", annotations(wantShared, "team"))
	lab.WantAddresses(t, "otherkey", "192.168.1.160")
	wantHTTPOn(t, "192.168.1.160", 80, 82)
	for _, name := range []string{"nokey", "otherpods"} {
		lab.WantAddresses(t, name)
	}
}

// requesting adds a request for an address to what a Service is annotated with.
func requesting(addr string) clustertest.Option {
	return func(s *corev1.Service) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[wantAddr] = addr
	}
}

// annotations returns the patch that sets an annotation.
func annotations(key, value string) string {
	return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
}

// wantHTTPOn waits until the host on the LAN gets an answer at each of the ports.
func wantHTTPOn(t *testing.T, addr string, ports ...uint16) {
	t.Helper()
	for _, port := range ports {
		to := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
		clustertest.Eventually(t, "HTTP 200 from "+to.String(), func(ctx context.Context) error {
			code, _, err := lab.Get(ctx, cluster.Client, to)
			if err == nil && code != 200 {
				err = fmt.Errorf("HTTP %d", code)
			}
			return err
		})
	}
}
