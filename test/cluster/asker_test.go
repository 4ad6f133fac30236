package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// lan makes a cable between a client, which is this namespace, and a neighbour with an address, and returns a cluster of the
// client alone.
func lan(t *testing.T, neighbour string) (*Cluster, *netns.Peer) {
	t.Helper()
	p := netns.NewPeer(t)
	netns.Veth(t, p, "eth0")
	p.Do(func() error { return netns.AddAddr("eth0", neighbour+"/24") })
	return &Cluster{hosts: []Host{{
		Name: Client, NetNS: "/proc/self/ns/net", MAC: netns.MAC(t, "eth0").String(), IPv4: netip.MustParseAddr("192.0.2.100"),
	}}}, p
}

// eventually waits for f to return no error.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := Eventually(ctx, f); err != nil {
		t.Fatal(err)
	}
}

// TestAsker asks a neighbour's kernel, which changes its MAC.
func TestAsker(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.7")
	c, p := lan(t, addr.String())
	var mac string
	p.Do(func() error { mac = netns.MAC(t, "eth0").String(); return nil })
	begin := time.Now().Round(0)
	a, err := c.Ask(Client, addr)
	if err != nil {
		t.Fatal(err)
	}
	answered := func(mac string, since time.Time) func() error {
		return func() error {
			asked, replies, err := a.Since(since)
			if err != nil {
				t.Fatal(err)
			}
			if n := min(len(asked), len(replies)); n < 20 || replies[len(replies)-1].MAC != mac {
				return fmt.Errorf("%d requests, %d replies, the last not by %s", len(asked), len(replies), mac)
			}
			return nil
		}
	}
	eventually(t, answered(mac, begin))
	const other = "02:00:00:00:00:07"
	p.Do(func() error { netns.SetMAC(t, "eth0", []byte{2, 0, 0, 0, 0, 7}); return nil })
	changed := time.Now().Round(0)
	eventually(t, answered(other, changed))
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	checkAsker(t, a, begin, changed, addr, mac)
	if out, err := p.Run("ip", "neigh", "show", "192.0.2.100"); out != "" || err != nil {
		t.Errorf("the neighbour knows the client, which is not who asked: %s, %v", out, err)
	}
}

// checkAsker looks at all that an Asker noted.
func checkAsker(t *testing.T, a *Asker, begin, changed time.Time, addr netip.Addr, mac string) {
	t.Helper()
	asked, replies, err := a.Since(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(replies, func(a, b Sighting) int { return a.At.Compare(b.At) }) {
		t.Error("replies are not in order")
	}
	if asked[0].Before(begin) || replies[0].At.Before(asked[0]) || replies[len(replies)-1].At.After(time.Now()) {
		t.Errorf("began at %s, asked from %s, replies from %s to %s: want them in this order and in the past",
			begin, asked[0], replies[0].At, replies[len(replies)-1].At)
	}
	for _, r := range replies {
		if r.Addr != addr || r.At.Before(changed.Add(-AskInterval)) && r.MAC != mac {
			t.Fatalf("reply %+v before the change, want %s at %s", r, addr, mac)
		}
	}
}

// say sends an ARP request for each of the addresses; one for from itself is an announcement.
func say(from netip.Addr, addrs ...netip.Addr) error {
	ifi, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
	if err != nil {
		return err
	}
	for _, addr := range addrs {
		err = errors.Join(err, ask(conn, ifi, from, addr))
	}
	return errors.Join(err, conn.Close())
}

// TestListener hears what a neighbour announces, and nothing else.
func TestListener(t *testing.T) {
	c, p := lan(t, "192.0.2.7")
	l, err := c.Listen(Client)
	if err != nil {
		t.Fatal(err)
	}
	own, client := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("192.0.2.100")
	p.Do(func() error { return say(own, client, own, own) })
	eventually(t, func() error {
		heard, err := l.Since(time.Time{})
		if err == nil && len(heard) < 2 {
			err = fmt.Errorf("heard %v", heard)
		}
		return err
	})
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	heard, err := l.Since(time.Time{})
	if len(heard) != 2 || heard[0].Addr != own || err != nil {
		t.Errorf("heard %v, %v, want two announcements of %s", heard, err, own)
	}
}

func TestReceivedWithoutTime(t *testing.T) {
	if at, err := received(nil); err == nil {
		t.Errorf("got %s from no control messages", at)
	}
}
