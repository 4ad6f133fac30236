//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// stranger is the host of the LAN that has addresses which it should not have. It is no node, and has no speaker.
const stranger = "control-plane"

// give puts an address on the stranger, for the time of the test or until take is called.
func give(t *testing.T, addr string) (take func()) {
	t.Helper()
	ip := func(ctx context.Context, verb string) error {
		_, err := lab.Run(ctx, stranger, "ip", "addr", verb, addr+"/32", "dev", "eth0")
		return err
	}
	if err := ip(t.Context(), "add"); err != nil {
		t.Fatal(err)
	}
	taken := false
	take = func() {
		if taken {
			return
		}
		taken = true
		if err := ip(context.WithoutCancel(t.Context()), "del"); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(take)
	return take
}

func strangerMAC(t *testing.T) string {
	t.Helper()
	h, err := lab.Host(stranger)
	if err != nil {
		t.Fatal(err)
	}
	return h.MAC
}

// wantConflict waits for the condition of a Service to be as wanted, and to name the MAC if it is True.
func wantConflict(t *testing.T, name, status, mac string) {
	t.Helper()
	clustertest.Eventually(t, "condition "+kube.ConditionConflict+" is "+status, func(ctx context.Context) error {
		s, err := lab.Service(ctx, name)
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionConflict)
		if c == nil || string(c.Status) != status || !strings.Contains(c.Message, mac) {
			return fmt.Errorf("it is %+v, want %s with %s", c, status, mac)
		}
		return nil
	})
}

// TestAddressInUse gives a Service an address that a host of the LAN has already: nobody steals it, the user is told, and
// when the host gives it up the Service has it.
func TestAddressInUse(t *testing.T) {
	const vip = "192.168.1.160"
	mac := strangerMAC(t)
	take := give(t, vip)
	lab.Create(t, "in-use")
	lab.WantAddresses(t, "in-use", vip)
	lab.WantEvent(t, clustertest.Namespace, "Service", "in-use", "AddressConflict", mac)
	wantConflict(t, "in-use", "True", mac)
	macs, err := lab.Answers(t.Context(), cluster.Client, netip.MustParseAddr(vip))
	if err != nil || len(macs) != 1 || macs[0] != mac {
		t.Errorf("%s is answered by %v (%v), want only by the host that has it, %s", vip, macs, err, mac)
	}
	take()
	lab.WantHolder(t, vip)
	wantConflict(t, "in-use", "False", "")
	lab.WantHTTP(t, vip)
}

// TestForeignHostTakesAddress lets a host of the LAN speak as if it had an announced address: the node defends it, and the
// user is told.
func TestForeignHostTakesAddress(t *testing.T) {
	const vip = "192.168.1.160"
	mac := strangerMAC(t)
	lab.Create(t, "taken")
	lab.WantAddresses(t, "taken", vip)
	node := lab.WantHolder(t, vip)
	client, err := lab.Host(cluster.Client)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := lab.Run(t.Context(), stranger, "arping", "-c", "1", "-i", "eth0", "-S", vip, client.IPv4.String()); err != nil {
		t.Log(out) // the answer goes to the address, and so perhaps to the node
	}
	lab.WantEvent(t, clustertest.Namespace, "Service", "taken", "AddressConflict", mac)
	wantConflict(t, "taken", "True", mac)
	if now := lab.WantHolder(t, vip); now != node {
		t.Errorf("%s moved from %s to %s", vip, node, now)
	}
	lab.WantHTTP(t, vip)
}
