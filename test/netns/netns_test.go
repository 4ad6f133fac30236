package netns_test

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

func names(t *testing.T) []string {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range interfaces {
		out = append(out, i.Name)
	}
	return out
}

// TestAlone: the tests see none of the machine's links, on any thread.
func TestAlone(t *testing.T) {
	netns.Require(t)
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	parents, err := os.Readlink("/proc/" + parentOf(t) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if own == parents {
		t.Fatal("the test runs in the namespace of its parent")
	}
	for range 10 {
		seen := make(chan []string)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			seen <- names(t)
		}()
		if got := <-seen; !slices.Equal(got, []string{"lo"}) {
			t.Fatalf("links %v, want lo only", got)
		}
	}
}

func parentOf(t *testing.T) string {
	t.Helper()
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.Fields(after)[1]
}

// TestCable sends frames both ways, and finds nothing left behind.
func TestCable(t *testing.T) {
	before := names(t)
	for range 30 { // often enough that the peer's thread would be the process's first one some time
		t.Run("once", func(t *testing.T) {
			peer := netns.NewPeer(t)
			netns.Veth(t, peer, "lan0")
			here, there := netns.Capture(t, "lan0"), peer.Capture("lan0")
			frame := bytes.Repeat([]byte{0xff}, 60)
			frame[12], frame[13] = 0x88, 0xb5 // an EtherType for experiments
			same := func(b []byte) bool { return bytes.Equal(b, frame) }
			here.Send(frame)
			if _, ok := there.Next(5*time.Second, same); !ok {
				t.Error("nothing arrived at the peer")
			}
			there.Send(frame)
			if _, ok := here.Next(5*time.Second, same); !ok {
				t.Error("nothing arrived here")
			}
			if _, ok := here.Next(time.Millisecond, same); ok {
				t.Error("the tap sees a frame twice")
			}
		})
	}
	if after := names(t); !slices.Equal(before, after) {
		t.Errorf("links %v before and %v after", before, after)
	}
}

func TestPeer(t *testing.T) {
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	out, err := peer.Run("cat", "/proc/net/dev")
	if err != nil || !strings.Contains(out, "lan0") {
		t.Errorf("the peer's command doesn't see its link: %v\n%s", err, out)
	}
	if _, err := peer.Run("false"); err == nil {
		t.Error("no error from a command that fails")
	}
	peer.Do(func() error {
		return netns.AddAddr("lan0", "192.0.2.7/24")
	})
	if _, err := net.Dial("udp", "192.0.2.9:9"); err == nil {
		t.Error("the peer's address is usable here")
	}
}

// TestPeerSkips: a test may end inside Do.
func TestPeerSkips(t *testing.T) {
	for range 10 {
		var inner *testing.T
		t.Run("inner", func(t *testing.T) {
			inner = t
			netns.NewPeer(t).Do(func() error {
				t.Skip("as a test does that lacks something")
				return nil
			})
			t.Error("the test goes on")
		})
		if !inner.Skipped() {
			t.Fatal("the inner test is not marked as skipped")
		}
	}
}

func TestAddAddrErrors(t *testing.T) {
	netns.Require(t)
	for name, prefix := range map[string]string{"lo": "192.0.2.1", "none": "192.0.2.1/24"} {
		if err := netns.AddAddr(name, prefix); err == nil {
			t.Errorf("AddAddr(%q, %q) succeeded", name, prefix)
		}
	}
}

func TestSwitches(t *testing.T) {
	peer := netns.NewPeer(t)
	netns.Veth(t, peer, "lan0")
	netns.VethPair(t, "lan1", "lan2")
	netns.Bridge(t, "br0", "lan0", "lan1")
	if !slices.Contains(names(t), "br0") {
		t.Error("no bridge")
	}
	mac := net.HardwareAddr{2, 3, 4, 5, 6, 7}
	netns.SetMAC(t, "lan2", mac)
	if got := netns.MAC(t, "lan2"); got.String() != mac.String() {
		t.Errorf("MAC %v, want %v", got, mac)
	}
	peer.Do(func() error { netns.SetDown(t, "lan0"); return nil })
	netns.WaitCarrier(t, "lan0", false)
}
