//go:build e2e

// Package router tests that a router between the clients and the LAN follows an address from node to node: it is what asks
// for the addresses in most networks, and all clients behind it depend on its one neighbour entry.
package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// lab is the cluster that all tests share.
var lab *clustertest.Lab

func TestMain(m *testing.M) {
	lab = clustertest.Prepared()
	os.Exit(m.Run())
}

// neighbour is what the router knows of an address on the LAN: an entry of `ip -json neigh`.
type neighbour struct {
	MAC   string   `json:"lladdr"`
	State []string `json:"state"`
}

func neighbourAt(ctx context.Context, addr netip.Addr) (n neighbour, err error) {
	out, err := lab.Run(ctx, cluster.Router, "ip", "-json", "neigh", "show", "to", addr.String(), "dev", "eth0")
	if err != nil {
		return n, err
	}
	var all []neighbour
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return n, fmt.Errorf("read neighbours: %w: %s", err, out)
	}
	if len(all) != 1 {
		return n, fmt.Errorf("the router has %d entries for %s, want 1", len(all), addr)
	}
	return all[0], nil
}

// assure makes the router sure of an entry, as if it had just been answered.
func assure(t *testing.T, addr netip.Addr, mac string) {
	t.Helper()
	_, err := lab.Run(t.Context(), cluster.Router, "ip", "neigh", "replace", addr.String(), "lladdr", mac, "dev", "eth0", "nud", "reachable")
	if err != nil {
		t.Fatal(err)
	}
}

func macOf(t *testing.T, host string) string {
	t.Helper()
	h, err := lab.Host(host)
	if err != nil {
		t.Fatal(err)
	}
	return h.MAC
}

// service makes a Service with an address of each family that the node announces, and returns them once they serve the client
// behind the router, whose own address the pods see.
func service(t *testing.T, node string) []netip.AddrPort {
	t.Helper()
	addrs := lab.DualService(t, "routed", node)
	wantServed(t, addrs)
	return addrs
}

func wantServed(t *testing.T, addrs []netip.AddrPort) {
	t.Helper()
	for i, client := range []string{"192.168.2.100:", "[fd00:2::100]:"} {
		if body := lab.WantHTTPFrom(t, cluster.Outside, addrs[i].Addr().String()); !strings.Contains(body, " client "+client) {
			t.Errorf("%s answers %q, want client %s", addrs[i], body, client)
		}
	}
}

// TestNodeCut loses the node that the router sends to while the router is sure of it: for 15 seconds at least after an answer (half
// of base_reachable_time, arp(7)) it asks nobody, and then it waits for seconds more. Only the announcement of the next node can
// change its mind within the bound.
func TestNodeCut(t *testing.T) {
	node := lab.Nodes()[0].Name
	addrs := service(t, node)
	for _, addr := range addrs {
		assure(t, addr.Addr(), macOf(t, node))
	}
	lab.FailOver(t, cluster.Outside, node, addrs...)
	for _, addr := range addrs {
		wantFollowed(t, addr.Addr())
	}
	wantServed(t, addrs)
	lab.WantNoFailures(t, node+" comes back and takes over", cluster.Outside, addrs, func() {
		lab.Heal(t, node)
		lab.WantHeldBy(t, node, addrs...)
	})
	for _, addr := range addrs {
		wantFollowed(t, addr.Addr())
	}
}

// wantFollowed checks that the router sends to the node that has the address.
func wantFollowed(t *testing.T, addr netip.Addr) {
	t.Helper()
	holder := lab.WantHolder(t, addr.String())
	if n, err := neighbourAt(t.Context(), addr); err != nil || n.MAC != macOf(t, holder) {
		t.Errorf("the router knows %s at %+v, %v, want %s of %s", addr, n, err, macOf(t, holder), holder)
	}
}

// TestProbed lets the router's entries grow stale under traffic. Five seconds later Linux probes the MAC that it knows, by unicast
// alone, and a router that gets no answer drops the entry and what it has to send (neigh_timer_handler in net/core/neighbour.c).
func TestProbed(t *testing.T) {
	node := lab.Nodes()[1].Name
	addrs := service(t, node)
	forget(t)
	use(t, addrs)
	for _, addr := range addrs {
		for _, state := range []string{"DELAY", "REACHABLE"} { // it is about to probe; it has been answered
			wantState(t, addr.Addr(), macOf(t, node), state)
		}
	}
	wantServed(t, addrs)
}

// use has the router send to the addresses until the test ends, by datagrams that nobody answers. TCP would not do: its sender marks
// packets as proof that their way is good, and as all hosts share a kernel, the router takes the mark for its own (sock_confirm_neigh
// in include/net/sock.h), trusts the entry on and never probes.
func use(t *testing.T, addrs []netip.AddrPort) {
	t.Helper()
	for _, addr := range addrs {
		var conn net.Conn
		err := lab.Do(cluster.Outside, func() (err error) {
			conn, err = net.Dial("udp", addr.String())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go func() {
			for err := error(nil); !errors.Is(err, net.ErrClosed); time.Sleep(100 * time.Millisecond) {
				_, err = conn.Write([]byte("used"))
			}
		}()
	}
}

// wantState waits until the router's entry for an address has a state. On the way there it may have been anything but dropped.
func wantState(t *testing.T, addr netip.Addr, mac, want string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("the router's entry for %s is %s", addr, want), func(ctx context.Context) error {
		n, err := neighbourAt(ctx, addr)
		if err != nil {
			return err
		}
		if n.MAC != mac || slices.Contains(n.State, "FAILED") || slices.Contains(n.State, "INCOMPLETE") {
			t.Errorf("the router knows %s at %+v, want %s", addr, n, mac)
		}
		if !slices.Contains(n.State, want) {
			return fmt.Errorf("it is %v", n.State)
		}
		return nil
	})
}

// forget makes the router sure of an entry for no more than 1.5 seconds after an answer (base_reachable_time_ms, arp(7)).
func forget(t *testing.T) {
	t.Helper()
	for _, family := range []string{"ipv4", "ipv6"} {
		key := "net." + family + ".neigh.eth0.base_reachable_time_ms="
		t.Cleanup(func() {
			if _, err := lab.Run(context.WithoutCancel(t.Context()), cluster.Router, "sysctl", "-qw", key+"30000"); err != nil {
				t.Error(err)
			}
		})
		if _, err := lab.Run(t.Context(), cluster.Router, "sysctl", "-qw", key+"1000"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMissedAnnouncement moves the addresses while the router hears no announcements. The node that had them must not answer the
// router's probes, so that it asks again and finds the one that has them.
func TestMissedAnnouncement(t *testing.T) {
	before, after := lab.Nodes()[0].Name, lab.Nodes()[2].Name
	addrs := service(t, before)
	deafen(t)
	lab.Patch(t, "routed", `{"metadata":{"annotations":{"`+kube.AnnotationAnnounceFrom+`":"`+after+`"}}}`)
	lab.WantHeldBy(t, after, addrs...)
	forget(t)
	use(t, addrs)
	for _, addr := range addrs {
		clustertest.Eventually(t, "the router finds the holder of "+addr.Addr().String(), func(ctx context.Context) error {
			n, err := neighbourAt(ctx, addr.Addr())
			if err == nil && n.MAC != macOf(t, after) {
				err = fmt.Errorf("it knows %+v", n)
			}
			return err
		})
	}
	wantServed(t, addrs)
}

// deafen lets the router hear nothing that is said to all: no gratuitous ARP and no unsolicited neighbour advertisement. What it
// asks for is answered to it alone.
func deafen(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := lab.Run(context.WithoutCancel(t.Context()), cluster.Router, "nft", "delete table netdev deaf"); err != nil {
			t.Error(err)
		}
	})
	_, err := lab.Run(t.Context(), cluster.Router, "nft", `table netdev deaf {
	chain ingress {
		type filter hook ingress device "eth0" priority 0;
		meta pkttype broadcast ether type arp drop
		meta pkttype multicast icmpv6 type nd-neighbor-advert drop
	}
}`)
	if err != nil {
		t.Fatal(err)
	}
}
