package netif

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/netns"
)

const patience = 15 * time.Second

// watch runs a watcher over the real kernel, without the slow scan, and returns its snapshots.
func watch(t *testing.T) <-chan *Snapshot {
	netns.Require(t)
	snapshots := make(chan *Snapshot, 1000)
	w := New(Config{
		Logger: slog.New(slog.DiscardHandler), Rescan: time.Hour, OnChange: func(s *Snapshot) { snapshots <- s },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
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
	return snapshots
}

// await waits for a snapshot in which the named interface meets the condition.
func await(t *testing.T, snapshots <-chan *Snapshot, name, what string, condition func(Interface) bool) Interface {
	t.Helper()
	var last *Snapshot
	for deadline := time.After(patience); ; {
		select {
		case last = <-snapshots:
			for _, i := range last.Interfaces() {
				if i.Name == name && condition(i) {
					return i
				}
			}
		case <-deadline:
			t.Fatalf("%s: not %s after %s: %+v", name, what, patience, last.Interfaces())
		}
	}
}

func eligible(i Interface) bool { return i.Eligible() }

func TestKernelLink(t *testing.T) {
	snapshots := watch(t)
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	first := await(t, snapshots, "lan0", "eligible", eligible)
	if !slices.Equal(first.MAC[:], netns.MAC(t, "lan0")) || first.Index != netns.Index(t, "lan0") {
		t.Errorf("%+v", first)
	}

	peer.Do(func() error { return setDown("lan0") })
	await(t, snapshots, "lan0", "without carrier", func(i Interface) bool { return i.Skip == SkipNoCarrier && !i.Carrier })
	peer.Do(func() error { netns.SetUp(t, "lan0"); return nil })
	second := await(t, snapshots, "lan0", "eligible", eligible)
	if second.Epoch == first.Epoch {
		t.Error("the epoch is the same after the carrier was away")
	}

	netns.SetDown(t, "lan0")
	await(t, snapshots, "lan0", "down", func(i Interface) bool { return i.Skip == SkipDown })
	mac := MAC{2, 1, 2, 3, 4, 5}
	netns.SetMAC(t, "lan0", net.HardwareAddr(mac[:]))
	netns.SetUp(t, "lan0")
	await(t, snapshots, "lan0", "eligible with its new MAC", func(i Interface) bool { return i.Eligible() && i.MAC == mac })
}

func setDown(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetDown(link)
}

func TestKernelAddresses(t *testing.T) {
	snapshots := watch(t)
	netns.Veth(t, netns.NewPeer(t), "lan0")
	for _, prefix := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
		if err := netns.AddAddr("lan0", prefix); err != nil {
			t.Fatal(err)
		}
		await(t, snapshots, "lan0", "with address "+prefix, func(i Interface) bool {
			return slices.Contains(i.Prefixes, netip.MustParsePrefix(prefix))
		})
	}
}

func TestKernelKinds(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T)
		want map[string]Skip
	}{
		{
			"bridge without address",
			func(t *testing.T) { netns.Bridge(t, "br0", "lan0", "lan1") },
			map[string]Skip{"br0": Eligible, "lan0": SkipMember, "lan1": SkipMember},
		},
		{
			"bond without address",
			func(t *testing.T) { netns.Bond(t, "bond0", "lan0", "lan1") },
			map[string]Skip{"bond0": Eligible, "lan0": SkipMember, "lan1": SkipMember},
		},
		{
			"VLAN without address",
			func(t *testing.T) { netns.VLAN(t, "lan0", "lan0.5", 5) },
			map[string]Skip{"lan0.5": Eligible, "lan0": Eligible},
		},
		{
			"pod's end of a cable",
			func(t *testing.T) { netns.VethPair(t, "veth0", "eth9") },
			map[string]Skip{"veth0": SkipExcluded, "lan0": Eligible},
		},
		{
			"ARP off",
			func(t *testing.T) {
				link, err := netlink.LinkByName("lan1")
				if err != nil {
					t.Fatal(err)
				}
				if err := netlink.LinkSetARPOff(link); err != nil {
					t.Fatal(err)
				}
			},
			map[string]Skip{"lan0": Eligible, "lan1": SkipNoARP},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			peer := netns.NewPeer(t)
			netns.Veth(t, peer, "lan0")
			netns.Veth(t, peer, "lan1")
			tt.make(t)
			snapshots := watch(t)
			got := make(map[string]Skip)
			for deadline := time.After(patience); !cmp.Equal(got, tt.want); {
				select {
				case s := <-snapshots:
					clear(got)
					for _, i := range s.Interfaces() {
						if _, ok := tt.want[i.Name]; ok {
							got[i.Name] = i.Skip
						}
					}
				case <-deadline:
					t.Fatalf("verdicts (-want +got):\n%s", cmp.Diff(tt.want, got))
				}
			}
		})
	}
}

// TestParseEvent feeds messages as the kernel sends them. A guest that moved to another host, for one, causes a link
// message like any other but for one attribute (IFLA_EVENT).
func TestParseEvent(t *testing.T) {
	for name, tt := range map[string]struct {
		kind uint16
		data []byte
		ok   bool
		bad  bool
	}{
		"short link":       {16, []byte{0, 0}, false, true},
		"short address":    {20, []byte{2}, false, true},
		"bridge port":      {16, append([]byte{7}, make([]byte, 31)...), false, false},
		"something else":   {24, nil, false, false},
		"address":          {20, []byte{2, 24, 0, 0, 9, 0, 0, 0}, true, false},
		"removed link":     {17, make([]byte, 16), true, false},
		"link that moved":  {16, append(make([]byte, 16), 8, 0, 0x2c, 0, 4, 0, 0, 0), true, false},
		"broken attribute": {16, append(make([]byte, 16), 200, 0, 0x2c, 0), false, true},
	} {
		e, ok, err := parseEvent(tt.kind, tt.data)
		if ok != tt.ok || (err != nil) != tt.bad {
			t.Errorf("%s: ok %v, error %v", name, ok, err)
		}
		if e.moved != (name == "link that moved") || e.removed != (name == "removed link") {
			t.Errorf("%s: %+v", name, e)
		}
		if name == "address" && e.index != 9 {
			t.Errorf("address of interface %d, want 9", e.index)
		}
	}
}

// TestCapabilities: watching needs no capability.
func TestCapabilities(t *testing.T) {
	netns.NewPeer(t).Do(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		sub, err := kernel{}.subscribe()
		if err != nil {
			return err
		}
		sub.close()
		links, err := kernel{}.links()
		if err != nil {
			return err
		}
		if len(links) != 1 || links[0].name != "lo" {
			t.Errorf("links %+v, want lo", links)
		}
		_, err = kernel{}.prefixes()
		return err
	})
}
