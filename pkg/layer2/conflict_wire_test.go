package layer2

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/pkg/responder"
	"github.com/invar-lb/invar/test/netns"
)

var other6 = netip.MustParseAddr("2001:db8::161")

// site is a cable to a Linux host, with interfaces of a kind on both ends.
type site struct {
	name string
	link string // the interface that carries announcements
	far  string // the host's interface
	make func(t *testing.T, peer *netns.Peer)
}

func sites() []site {
	return []site{
		{"veth", "lan0", "lan0", func(*testing.T, *netns.Peer) {}},
		{"bridge", "br0", "lan0", func(t *testing.T, _ *netns.Peer) { netns.Bridge(t, "br0", "lan0") }},
		{"VLAN", "lan0.5", "lan0.5", func(t *testing.T, peer *netns.Peer) {
			netns.VLAN(t, "lan0", "lan0.5", 5)
			peer.Do(func() error { netns.VLAN(t, "lan0", "lan0.5", 5); return nil })
		}},
		{"bond", "bond0", "lan0", func(t *testing.T, _ *netns.Peer) { netns.Bond(t, "bond0", "lan0") }},
	}
}

// host is the Linux host at the far end.
type host struct {
	*netns.Peer
	t   *testing.T
	ifi string
	mac MAC
}

// onSites runs body on each kind of interface.
func onSites(t *testing.T, body func(t *testing.T, s site, h host)) {
	for _, s := range sites() {
		t.Run(s.name, func(t *testing.T) {
			peer := netns.NewPeer(t)
			netns.Veth(t, peer, "lan0")
			s.make(t, peer)
			h := host{Peer: peer, t: t, ifi: s.far}
			h.Do(func() error { h.mac = MAC(netns.MAC(t, s.far)); return nil })
			body(t, s, h)
		})
	}
}

// add gives the host an address, without waiting for its duplicate address detection, or with none at all.
func (h host) add(prefix string, flags int) {
	h.t.Helper()
	h.Do(func() error {
		link, err := netlink.LinkByName(h.ifi)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			return err
		}
		addr.Flags = flags
		return netlink.AddrAdd(link, addr)
	})
}

// set changes one of the host's settings for IPv6.
func (h host) set(name, value string) {
	h.t.Helper()
	h.Do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/"+name, []byte(value), 0o644) })
}

// talk makes the host send from an address, so that it asks who has another.
func (h host) talk(from, to netip.Addr) {
	h.t.Helper()
	h.Do(func() error {
		local := net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		c, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 9)))
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("hello"))
		return errors.Join(err, c.Close())
	})
}

// conflictsOf returns the conflicts as "address MAC interface".
func conflictsOf(a *Announcer) []string {
	var out []string
	for _, c := range a.Conflicts() {
		out = append(out, fmt.Sprint(c.Address, " ", c.MAC, " ", c.Interface))
	}
	return out
}

// probeOf matches ARP probes for addr.
func probeOf(addr netip.Addr, mac net.HardwareAddr) func([]byte) bool {
	want := slices.Concat([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, []byte{8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, mac,
		make([]byte, 10), addr.AsSlice(), make([]byte, 18))
	return func(b []byte) bool { return bytes.Equal(b, want) }
}

// detectionOf matches neighbour solicitations of duplicate address detection for addr, with a nonce.
func detectionOf(addr netip.Addr, mac net.HardwareAddr) func([]byte) bool {
	ip := addr.As16()
	group := []byte{0x33, 0x33, 0xff, ip[13], ip[14], ip[15]}
	return func(b []byte) bool {
		return len(b) == 86 && bytes.Equal(b[:6], group) && bytes.Equal(b[6:12], mac) && b[12] == 0x86 && b[21] == 255 &&
			netip.AddrFrom16([16]byte(b[22:38])).IsUnspecified() && b[54] == 135 && bytes.Equal(b[62:78], ip[:]) &&
			b[78] == 14 && b[79] == 1 && !bytes.Equal(b[80:86], make([]byte, 6))
	}
}

// TestRealProbe probes for addresses that a Linux host has, and for others.
func TestRealProbe(t *testing.T) {
	onSites(t, func(t *testing.T, s site, h host) {
		h.add(vip.String()+"/24", 0)
		h.add(vip6.String()+"/64", unix.IFA_F_NODAD)
		mac := netns.MAC(t, s.link)
		tap, tap6 := h.Capture(s.far), h.Capture(s.far)
		a := runReal(t, Config{})
		desired := make(map[netip.Addr]Announcement)
		for _, addr := range []netip.Addr{vip, vip6, other, other6} {
			desired[addr] = Announcement{Interfaces: []string{s.link}, Tentative: true}
		}
		a.Set(desired)
		var at []time.Time
		for i := range 3 {
			at = append(at, next(t, tap, fmt.Sprint("ARP probe ", i), probeOf(other, mac)).At)
			next(t, tap6, fmt.Sprint("solicitation ", i), detectionOf(other6, mac))
			if i > 0 && at[i].Sub(at[i-1]) < 100*time.Millisecond {
				t.Errorf("probe %d came after %v", i, at[i].Sub(at[i-1]))
			}
		}
		if a.Free(other) {
			t.Error("free right after the last probe")
		}
		waitFor(t, "others are free", func() bool { return a.Free(other) && a.Free(other6) })
		want := []string{fmt.Sprint(vip, " ", h.mac, " ", s.link), fmt.Sprint(vip6, " ", h.mac, " ", s.link)}
		if got := conflictsOf(a); !slices.Equal(got, want) || a.Free(vip) || a.Free(vip6) {
			t.Errorf("conflicts %q, want %q", got, want)
		}
		a.Set(map[netip.Addr]Announcement{other: {Interfaces: []string{s.link}}})
		f := next(t, tap, "announcement", arpOf(other, 0))
		if f.Data[21] != 1 || len(conflictsOf(a)) > 0 {
			t.Errorf("first frame after probing: %x; conflicts %q", f.Data, conflictsOf(a))
		}
	})
}

// TestRealProbeMeets: another host probes for an address that is free, but not claimed yet. Its kernel does duplicate
// address detection; arping does it for IPv4.
func TestRealProbeMeets(t *testing.T) {
	onSites(t, func(t *testing.T, s site, h host) {
		a := runReal(t, Config{})
		desired := make(map[netip.Addr]Announcement)
		for _, addr := range []netip.Addr{vip, vip6} {
			desired[addr] = Announcement{Interfaces: []string{s.link}, Tentative: true}
		}
		a.Set(desired)
		waitFor(t, "free", func() bool { return a.Free(vip) && a.Free(vip6) })
		h.add(vip6.String()+"/64", 0)
		if out, err := h.Run("arping", "-0", "-c", "1", "-w", "1", "-i", s.far, vip.String()); err == nil {
			t.Errorf("arping was answered:\n%s", out)
		}
		waitFor(t, "conflicts", func() bool { return len(a.Conflicts()) == 2 })
		want := []string{fmt.Sprint(vip, " ", h.mac, " ", s.link), fmt.Sprint(vip6, " ", h.mac, " ", s.link)}
		if got := conflictsOf(a); !slices.Equal(got, want) || a.Free(vip) || a.Free(vip6) {
			t.Errorf("conflicts %q, want %q", got, want)
		}
	})
}

// TestRealWatch: a Linux host gets addresses that are held here.
func TestRealWatch(t *testing.T) {
	onSites(t, func(t *testing.T, s site, h host) {
		tap, tap6 := h.Capture(s.far), h.Capture(s.far)
		a := runReal(t, Config{})
		desired := make(map[netip.Addr]Announcement)
		for _, addr := range []netip.Addr{vip, vip6} {
			desired[addr] = Announcement{Interfaces: []string{s.link}}
		}
		a.Set(desired)
		for range burst { // after that there is nothing more for a minute
			next(t, tap, "announcement", arpOf(vip, 1))
			next(t, tap6, "advertisement", advertisementOf(vip6))
		}
		h.set(s.far+"/ndisc_notify", "1")
		h.set(s.far+"/accept_dad", "0") // who detects duplicates is told, see below
		h.set("all/accept_dad", "0")
		h.add(vip6.String()+"/64", 0)
		next(t, tap6, "advertisement in defence", advertisementOf(vip6))
		h.add(vip.String()+"/24", 0)
		h.talk(vip, netip.MustParseAddr("192.168.1.77"))
		next(t, tap, "announcement in defence", arpOf(vip, 1))
		want := []string{fmt.Sprint(vip, " ", h.mac, " ", s.link), fmt.Sprint(vip6, " ", h.mac, " ", s.link)}
		waitFor(t, "conflicts", func() bool { return slices.Equal(conflictsOf(a), want) })
		count := func() uint64 { return a.Conflicts()[0].Count }
		seen := count()
		if out, err := h.Run("arping", "-U", "-c", "2", "-W", "0.05", "-i", s.far, "-S", vip.String(), vip.String()); count() == seen {
			waitFor(t, fmt.Sprintf("sightings of arping (%v)\n%s", err, out), func() bool { return count() > seen })
		}
		if got := a.cfg.Metrics.defences.Load(); got != 2 {
			t.Errorf("defended %d times, want once each", got)
		}
		tap.Send(ask(vip))
		next(t, tap, "answer: the address is not given up", answered(vip))
	})
}

// TestRealGivesWay: a Linux host that detects duplicates does not get an address that is held here, and is no conflict.
func TestRealGivesWay(t *testing.T) {
	onSites(t, func(t *testing.T, s site, h host) {
		tap := h.Capture(s.far)
		a := runReal(t, Config{})
		a.Set(map[netip.Addr]Announcement{vip: {Interfaces: []string{s.link}}, vip6: {Interfaces: []string{s.link}}})
		next(t, tap, "advertisement", advertisementOf(vip6))
		h.add(vip6.String()+"/64", 0)
		if out, err := h.Run("arping", "-0", "-c", "1", "-w", "2", "-i", s.far, vip.String()); err != nil {
			t.Errorf("arping finds no duplicate: %v\n%s", err, out)
		}
		waitFor(t, "address is marked as a duplicate", func() (failed bool) {
			h.Do(func() (err error) {
				failed, err = netns.Duplicate(s.far)
				return err
			})
			return failed
		})
		if got := conflictsOf(a); len(got) > 0 {
			t.Errorf("conflicts %q", got)
		}
	})
}

// TestRealPeer: the other host is a peer.
func TestRealPeer(t *testing.T) {
	onSites(t, func(t *testing.T, s site, h host) {
		told := make(chan string, 100)
		tap := h.Capture(s.far)
		a := runReal(t, Config{OnPeer: func(addr netip.Addr, node string) { told <- fmt.Sprint(addr, " ", node) }})
		a.SetPeers(map[MAC]string{h.mac: "node2"})
		a.Set(map[netip.Addr]Announcement{vip: {Interfaces: []string{s.link}}})
		next(t, tap, "announcement", arpOf(vip, 1))
		h.add(vip.String()+"/24", 0)
		h.talk(vip, netip.MustParseAddr("192.168.1.77"))
		select {
		case got := <-told:
			if want := fmt.Sprint(vip, " node2"); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Error("the peer was not noticed")
		}
		if got := conflictsOf(a); len(got) > 0 {
			t.Errorf("conflicts %q", got)
		}
	})
}

// TestRealProbeThousand: a thousand addresses are probed for within the rate, and one that moves meanwhile is not kept
// waiting.
func TestRealProbeThousand(t *testing.T) {
	const n, rate = 1000, 4000
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	tap, tap2 := peer.Capture("lan0"), peer.Capture("lan0")
	a := runReal(t, Config{FramesPerSecond: rate})
	desired := make(map[netip.Addr]Announcement)
	for i := range n {
		desired[netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})] = Announcement{Tentative: true}
	}
	begin := time.Now()
	a.Set(desired)
	isProbe := func(b []byte) bool {
		return len(b) >= 42 && b[13] == 6 && b[21] == 1 && bytes.Equal(b[28:32], make([]byte, 4))
	}
	next(t, tap, "first probe", isProbe)
	desired[vip] = Announcement{}
	a.Set(desired)
	before, ahead := int(a.cfg.Metrics.stats.Probes.Load()), 0
	next(t, tap2, "announcement", func(b []byte) bool {
		if isProbe(b) {
			ahead++
		}
		return arpOf(vip, 1)(b)
	})
	if ahead > before+2 {
		t.Errorf("%d probes were sent before the announcement, %d of them when it was due", ahead, before)
	}
	seen := map[[4]byte]int{}
	var last netns.Frame
	for sent := 1; sent < 3*n; sent++ {
		last = next(t, tap, fmt.Sprint("probe ", sent), isProbe)
		seen[[4]byte(last.Data[38:42])]++
	}
	took := last.At.Sub(begin)
	if least := time.Second * 3 * n / rate * 9 / 10; took < least {
		t.Errorf("%d probes within %v, want %v or more", 3*n, took, least)
	}
	delete(desired, vip)
	waitFor(t, "all are free", func() bool {
		for addr := range desired {
			if !a.Free(addr) {
				return false
			}
		}
		return true
	})
	t.Logf("the last of %d probes after %v, all %d addresses free after %v", 3*n, took, n, time.Since(begin))
	t.Logf("announced after %d of %d probes", ahead, 3*n)
}

// TestFloodOfClaims: a host that claims addresses as fast as it can neither blocks nor grows anything.
func TestFloodOfClaims(t *testing.T) {
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	tap, flood := peer.Capture("lan0"), peer.Capture("lan0")
	a := runReal(t, Config{})
	a.Set(map[netip.Addr]Announcement{vip: {}, other: {Tentative: true}})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		claim := ask(vip)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			copy(claim[28:32], [][]byte{vip.AsSlice(), other.AsSlice()}[i%2])
			claim[24], claim[25] = byte(i>>8), byte(i)
			flood.Send(claim)
		}
	}()
	waitFor(t, "conflicts", func() bool { return len(a.Conflicts()) == 2 })
	for range 300 {
		tap.Send(ask(vip))
		next(t, tap, "answer during the flood", answered(vip))
		begin := time.Now()
		a.Set(map[netip.Addr]Announcement{vip: {}, other: {Tentative: true}})
		if took := time.Since(begin); took > time.Second {
			t.Errorf("Set took %v", took)
		}
	}
	close(stop)
	<-done
	if n := len(a.Conflicts()); n != 2 {
		t.Errorf("%d conflicts, want 2", n)
	}
	if n := a.cfg.Metrics.defences.Load(); n != 1 {
		t.Errorf("defended %d times, want once", n)
	}
	t.Logf("%d sightings, %d lost", a.cfg.Metrics.stats.Sightings(responder.ARP), a.cfg.Metrics.lost.Load())
}
