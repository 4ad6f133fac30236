package layer2

import (
	"bytes"
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// patience bounds how long a test waits for what has to come.
const patience = 15 * time.Second

// These tests run an Announcer over real interfaces. What comes in at the far end of a cable is captured there.

// runReal runs an Announcer until the test ends.
func runReal(t *testing.T, cfg Config) *Announcer {
	netns.Require(t)
	a := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return")
		}
	})
	waitFor(t, "ready", a.Ready)
	return a
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, patience)
		}
	}
}

// arpOf matches ARP frames in which addr is the sender, as replies and announcements have it. An operation of 0 matches
// all.
func arpOf(addr netip.Addr, op byte) func([]byte) bool {
	ip := addr.As4()
	return func(b []byte) bool {
		return len(b) >= 42 && b[12] == 8 && b[13] == 6 && bytes.Equal(b[28:32], ip[:]) && (op == 0 || b[21] == op)
	}
}

// advertisementOf matches neighbour advertisements of addr.
func advertisementOf(addr netip.Addr) func([]byte) bool {
	ip := addr.As16()
	return func(b []byte) bool {
		return len(b) >= 86 && b[12] == 0x86 && b[13] == 0xdd && b[54] == 136 && bytes.Equal(b[62:78], ip[:])
	}
}

// ask returns an ARP request for addr.
func ask(addr netip.Addr) []byte {
	b := make([]byte, 60)
	copy(b, []byte{
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x99, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
		2, 0, 0, 0, 0, 0x99, 192, 168, 1, 99,
	})
	copy(b[38:], addr.AsSlice())
	return b
}

// answered matches the reply to ask.
func answered(addr netip.Addr) func([]byte) bool {
	match := arpOf(addr, 2)
	return func(b []byte) bool { return match(b) && b[5] == 0x99 }
}

func next(t *testing.T, tap *netns.Tap, what string, match func([]byte) bool) netns.Frame {
	t.Helper()
	f, ok := tap.Next(patience, match)
	if !ok {
		t.Fatalf("%s: not within %s", what, patience)
	}
	return f
}

// answer asks until there is an answer that match accepts: the first questions may come before the sockets that they are for.
func answer(t *testing.T, tap *netns.Tap, what string, question []byte, match func([]byte) bool) {
	t.Helper()
	waitFor(t, what, func() bool {
		tap.Send(question)
		_, ok := tap.Next(patience/15, match)
		return ok
	})
}

func desire(addrs ...netip.Addr) map[netip.Addr]Announcement {
	desired := make(map[netip.Addr]Announcement)
	for _, addr := range addrs {
		desired[addr] = Announcement{}
	}
	return desired
}

func TestRealTakeOver(t *testing.T) {
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	tap := peer.Capture("lan0")
	a := runReal(t, Config{})
	begin := time.Now()
	a.Set(desire(vip, vip6))
	for _, want := range []struct {
		what  string
		match func([]byte) bool
	}{
		{"gratuitous request", arpOf(vip, 1)},
		{"gratuitous reply", arpOf(vip, 2)},
		{"second gratuitous request", arpOf(vip, 1)},
	} {
		next(t, tap, want.what, want.match)
	}
	if took := time.Since(begin); took < 190*time.Millisecond || took > time.Second {
		t.Errorf("second announcement after %v, want 200 ms", took)
	}
	next(t, tap, "unsolicited advertisement", advertisementOf(vip6))
	tap.Send(ask(vip))
	next(t, tap, "answer", answered(vip))

	a.Set(desire(other))
	tap.Send(ask(vip))
	tap.Send(ask(other))
	next(t, tap, "answer for the other address", func(b []byte) bool {
		if answered(vip)(b) || advertisementOf(vip6)(b) {
			t.Error("a withdrawn address is announced or answered")
		}
		return answered(other)(b)
	})
}

// TestRealInterfaces: interfaces that come, go and change, with no address on any of them.
func TestRealInterfaces(t *testing.T) {
	a := runReal(t, Config{})
	a.Set(desire(vip, vip6))
	if ok, reason := a.CanCarry(vip, Announcement{}); ok || reason != "no interface is eligible" {
		t.Errorf("CanCarry = %v, %q", ok, reason)
	}

	t.Log("a new interface")
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	tap := peer.Capture("lan0")
	tap.Send(ask(vip)) // it may be too early for an answer, but not for the announcements that follow
	next(t, tap, "announcement on a new interface", arpOf(vip, 1))
	next(t, tap, "advertisement on a new interface", advertisementOf(vip6))

	t.Log("a new MAC")
	mac := net.HardwareAddr{2, 1, 2, 3, 4, 5}
	netns.SetDown(t, "lan0")
	netns.SetMAC(t, "lan0", mac)
	netns.SetUp(t, "lan0")
	netns.WaitCable(t, peer, "lan0")
	next(t, tap, "announcement with the new MAC", func(b []byte) bool {
		return arpOf(vip, 0)(b) && bytes.Equal(b[22:28], mac) && bytes.Equal(b[6:12], mac)
	})
	next(t, tap, "advertisement with the new MAC", func(b []byte) bool {
		return advertisementOf(vip6)(b) && bytes.Equal(b[80:86], mac)
	})
	tap.Send(ask(vip))
	next(t, tap, "answer with the new MAC", func(b []byte) bool { return answered(vip)(b) && bytes.Equal(b[22:28], mac) })

	t.Log("a bridge takes the interface")
	netns.Bridge(t, "br0", "lan0")
	netns.WaitCable(t, peer, "lan0")
	br0 := netns.MAC(t, "br0")
	waitFor(t, "br0 is the one carrier", func() bool {
		s := a.State()
		return len(s.Addresses) == 2 && len(s.Addresses[0].Interfaces) == 1 && s.Addresses[0].Interfaces[0] == "br0"
	})
	answer(t, tap, "answer by the bridge", ask(vip), from(br0, answered(vip)))
}

// TestRealKinds: VLANs and bonds, where the kernel has them. The peer is set up likewise.
func TestRealKinds(t *testing.T) {
	for name, tt := range map[string]struct {
		link string
		make func(t *testing.T, peer *netns.Peer)
	}{
		"VLAN": {"lan0.5", func(t *testing.T, peer *netns.Peer) {
			netns.VLAN(t, "lan0", "lan0.5", 5)
			peer.Do(func() error { netns.VLAN(t, "lan0", "lan0.5", 5); return nil })
		}},
		"bond": {"bond0", func(t *testing.T, peer *netns.Peer) { netns.Bond(t, "bond0", "lan0") }},
	} {
		t.Run(name, func(t *testing.T) {
			peer := netns.NewPeer(t)
			netns.Veth(t, peer, "lan0")
			tt.make(t, peer)
			tap := peer.Capture("lan0")
			if name == "VLAN" {
				tap = peer.Capture("lan0.5")
			}
			a := runReal(t, Config{})
			a.Set(map[netip.Addr]Announcement{vip: {Interfaces: []string{tt.link}}})
			next(t, tap, "announcement", arpOf(vip, 1))
			tap.Send(ask(vip))
			next(t, tap, "answer", answered(vip))
		})
	}
}

// TestRealSegment: two interfaces on one segment answer with one MAC, and the other takes over when the first loses its
// link.
func TestRealSegment(t *testing.T) {
	peer := netns.NewPeer(t)
	for _, name := range []string{"lan0", "lan1"} {
		netns.Veth(t, peer, name)
		if err := netns.AddAddr(name, map[string]string{"lan0": "192.168.1.5/24", "lan1": "192.168.1.6/24"}[name]); err != nil {
			t.Fatal(err)
		}
	}
	peer.Do(func() error {
		netns.Bridge(t, "sw", "lan0", "lan1")
		netns.SetMAC(t, "sw", net.HardwareAddr{2, 0, 0, 0, 0, 0x99}) // the MAC of ask, so that the bridge takes the answers
		return nil
	})
	tap := peer.Capture("sw")
	first, second := netns.MAC(t, "lan0"), netns.MAC(t, "lan1")
	a := runReal(t, Config{})
	a.Set(desire(vip))
	for range 20 {
		tap.Send(ask(vip))
		f := next(t, tap, "answer", answered(vip))
		if !bytes.Equal(f.Data[22:28], first) {
			t.Fatalf("answer with MAC %x, want %x", f.Data[22:28], first)
		}
	}
	netns.SetDown(t, "lan0")
	next(t, tap, "announcement by the second interface", func(b []byte) bool {
		return arpOf(vip, 1)(b) && bytes.Equal(b[22:28], second)
	})
	tap.Send(ask(vip))
	next(t, tap, "answer by the second interface", func(b []byte) bool {
		return answered(vip)(b) && bytes.Equal(b[22:28], second)
	})
}

// TestRealThousand: a thousand addresses are announced at once, within the rate.
func TestRealThousand(t *testing.T) {
	const n, rate = 1000, 4000
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	tap := peer.Capture("lan0")
	a := runReal(t, Config{FramesPerSecond: rate})
	desired := make(map[netip.Addr]Announcement)
	for i := range n {
		desired[netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})] = Announcement{}
	}
	begin := time.Now()
	a.Set(desired)
	set := time.Since(begin)
	seen := make(map[[4]byte]int)
	var last netns.Frame
	for len(seen) < n {
		last = next(t, tap, "announcements", func(b []byte) bool { return len(b) >= 42 && b[13] == 6 && b[21] == 1 })
		ip := [4]byte(last.Data[28:32])
		if seen[ip]++; seen[ip] > 1 {
			t.Fatalf("%v is announced twice before %d of %d are announced once", ip, len(seen), n)
		}
	}
	took := last.At.Sub(begin)
	t.Logf("Set took %v, the last of %d addresses was announced after %v", set, n, took)
	if least := time.Second * 2 * n / rate * 9 / 10; took < least {
		t.Errorf("announced within %v, want %v or more", took, least)
	}
}

func TestRealStop(t *testing.T) {
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	tap := peer.Capture("lan0")
	a := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	waitFor(t, "ready", a.Ready)
	a.Set(desire(vip))
	tap.Send(ask(vip))
	next(t, tap, "answer", answered(vip))
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v", err)
	}
	// What was sent before Run returned comes before this one.
	netns.Capture(t, "lan0").Send(ask(remote))
	next(t, tap, "marker", func(b []byte) bool { return bytes.Equal(b, ask(remote)) })
	tap.Send(ask(vip))
	if f, ok := tap.Next(300*time.Millisecond, arpOf(vip, 0)); ok {
		t.Errorf("a frame after Run returned: %x", f.Data)
	}
}

// TestRealChurn does things to the interface and to the desired state in random order, and then looks whether exactly the
// desired addresses are answered.
func TestRealChurn(t *testing.T) {
	const seed = 11
	rng := rand.New(rand.NewPCG(seed, seed))
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	a := runReal(t, Config{})
	var pool []netip.Addr
	for i := range 20 {
		pool = append(pool, netip.AddrFrom4([4]byte{192, 168, 1, byte(160 + i)}))
	}
	desired := desire()
	steps := []func(){
		func() { netns.SetDown(t, "lan0") },
		func() { netns.SetUp(t, "lan0") },
		func() { netns.SetUp(t, "lan0") },
		func() { peer.Do(func() error { netns.SetDown(t, "lan0"); return nil }) },
		func() { peer.Do(func() error { netns.SetUp(t, "lan0"); return nil }) },
		func() { netns.SetMAC(t, "lan0", net.HardwareAddr{2, 7, 0, 0, 0, byte(rng.IntN(250))}) },
		func() { a.Reannounce(pool...) },
		func() {
			desired = desire(vip6)
			for _, addr := range pool {
				if rng.IntN(2) == 0 {
					desired[addr] = Announcement{}
				}
			}
			a.Set(desired)
		},
	}
	for range 300 {
		steps[rng.IntN(len(steps))]()
	}
	steps[len(steps)-1]()
	netns.SetUp(t, "lan0")
	peer.Do(func() error { netns.SetUp(t, "lan0"); return nil })
	netns.WaitCable(t, peer, "lan0")
	mac := netns.MAC(t, "lan0")
	waitFor(t, "interface is known as it is", func() bool {
		s := a.State()
		i := slices.IndexFunc(s.Interfaces, func(i InterfaceState) bool { return i.Name == "lan0" })
		return i >= 0 && s.Interfaces[i].Eligible() && s.Interfaces[i].Error == "" && bytes.Equal(s.Interfaces[i].MAC[:], mac)
	})
	tap := peer.Capture("lan0")
	for _, addr := range pool {
		tap.Send(ask(addr))
	}
	want := make(map[netip.Addr]bool)
	for addr := range desired {
		want[addr] = true
	}
	delete(want, vip6) // it is there to have IPv6 sockets come and go as well
	got := make(map[netip.Addr]bool)
	for len(got) < len(want) {
		f := next(t, tap, "answers", func(b []byte) bool { return len(b) >= 42 && b[13] == 6 && b[21] == 2 && b[5] == 0x99 })
		got[netip.AddrFrom4([4]byte(f.Data[28:32]))] = true
		if !bytes.Equal(f.Data[22:28], mac) {
			t.Errorf("answer with MAC %x, want %x", f.Data[22:28], mac)
		}
	}
	if !maps.Equal(want, got) {
		t.Errorf("seed %d: answered %v, want %v", seed, got, want)
	}
}
