package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/netns"
)

var comparable = cmpopts.EquateComparable(netip.Addr{})

func TestParseFrame(t *testing.T) {
	from, mac := netip.MustParseAddr("fd00:1::ff64"), net.HardwareAddr{2, 0, 0, 0, 0, 9}
	target := netip.MustParseAddr("fd00:1::160")
	to, frame, err := solicitation(mac, from, target)
	if err != nil {
		t.Fatal(err)
	}
	want := Frame{To: MAC(to), Question: true, Sender: from, MAC: MAC(mac), Target: target}
	got, ok := parseFrame(frame)
	if diff := cmp.Diff(want, got, comparable); diff != "" || !ok {
		t.Errorf("solicitation, %t (-want +got):\n%s", ok, diff)
	}
	const option = 8 // without it the solicitation is whole, too
	for n := range len(frame) - option {
		if f, ok := parseFrame(frame[:n]); ok {
			t.Errorf("%d of %d bytes are taken for %+v", n, len(frame), f)
		}
	}
}

// TestRecorder has a host on a switch, which is this namespace, ask for addresses of both families. It is the kernel of another
// host that answers.
func TestRecorder(t *testing.T) {
	asking, answering := netns.NewPeer(t), netns.NewPeer(t)
	netns.Veth(t, asking, "p-client")
	netns.Veth(t, answering, "p-node1")
	netns.Bridge(t, "lan", "p-client", "p-node1")
	v4, v6 := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")
	var node MAC
	answering.Do(func() error {
		node = MAC(netns.MAC(t, "p-node1"))
		return netns.AddAddr("p-node1", v4.String()+"/24")
	})
	if out, err := answering.Run("ip", "addr", "add", v6.String()+"/64", "dev", "p-node1", "nodad"); err != nil {
		t.Fatal(err, out)
	}
	if out, err := asking.Run("ip", "link", "set", "p-client", "down", "name", "eth0"); err != nil {
		t.Fatal(err, out)
	}
	if out, err := asking.Run("ip", "link", "set", "eth0", "up"); err != nil {
		t.Fatal(err, out)
	}
	r := &Recorder{ports: map[int]string{}, ended: make(chan struct{})}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	go r.read()
	begin := time.Now()
	i := interview(t, asking)
	i.Want(v4)
	i.Want(v6)
	i.Want(v4) // once is enough
	eventually(t, func() error { return r.heardBoth(v4, v6) })
	if err := i.Stop(); err != nil {
		t.Fatal(err)
	}
	frames, err := r.Stop()
	if err != nil {
		t.Fatal(err)
	}
	checkFrames(t, frames, begin, i.MAC(), node)
}

// interview starts an Interviewer of a peer, as Cluster.Interview does on a host.
func interview(t *testing.T, p *netns.Peer) (i *Interviewer) {
	t.Helper()
	p.Do(func() (err error) {
		c := &Cluster{hosts: []Host{{
			Name: Client, NetNS: fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), MAC: netns.MAC(t, "eth0").String(),
			IPv4: netip.MustParseAddr("192.0.2.100"), IPv6: netip.MustParseAddr("2001:db8::100"),
		}}}
		i, err = c.Interview(Client, 254, AskInterval)
		return err
	})
	return i
}

// heardBoth returns nil when answers for both addresses have been recorded.
func (r *Recorder) heardBoth(addrs ...netip.Addr) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, addr := range addrs {
		n := 0
		for _, f := range r.frames {
			if !f.Question && f.Sender == addr {
				n++
			}
		}
		if n < 3 {
			return fmt.Errorf("%d answers for %s", n, addr)
		}
	}
	return nil
}

// checkFrames wants questions from the client's port and answers from the node's, in order.
func checkFrames(t *testing.T, frames []Frame, begin time.Time, asker, node MAC) {
	t.Helper()
	for n, f := range frames {
		if f.At.Before(begin) || f.At.After(time.Now()) || n > 0 && f.At.Before(frames[n-1].At) {
			t.Errorf("frame %d came at %s, after one at %s", n, f.At, frames[max(0, n-1)].At)
		}
		switch {
		case f.MAC == asker:
			if f.Port != Client || !f.Question {
				t.Errorf("%+v, want a question from the client", f)
			}
		case f.To == asker:
			if f.Port != "node1" || f.Question || f.MAC != node {
				t.Errorf("%+v, want an answer of the node, at %s", f, node)
			}
		}
	}
}

func TestDated(t *testing.T) {
	last := time.Now()
	now := last.Add(100 * time.Millisecond)
	for _, tt := range []struct {
		name  string
		stamp time.Duration // after last
		want  time.Duration
	}{
		{"waited for a while", 60 * time.Millisecond, 60 * time.Millisecond},
		{"clock was set forward", -3 * time.Second, 0},
		{"clock was set back", 3 * time.Second, 100 * time.Millisecond},
	} {
		if got := dated(last.Round(0).Add(tt.stamp), now, last); got.Sub(last) != tt.want {
			t.Errorf("%s: came %s after the one before, want %s", tt.name, got.Sub(last), tt.want)
		}
	}
}
