package responder

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
	"golang.org/x/net/bpf"

	"github.com/invar-lb/invar/test/netns"
)

// own4 and own6 are addresses of the asking host itself.
var (
	own4 = netip.MustParseAddr("192.0.2.10")
	own6 = netip.MustParseAddr("2001:db8::10")
)

func TestLayQuestion(t *testing.T) {
	tests := []struct {
		name string
		mac  [6]byte
		addr netip.Addr
		own  netip.Addr
		want []byte
	}{
		{"ARP to all", [6]byte{}, client4, own4, arpSpec{
			op: arp.OperationRequest, to: broadcast, from: ownMAC, senderMAC: ownMAC, sender: own4, target: client4,
		}.bytes(t)},
		{"ARP to one", clientMAC, client4, own4, arpSpec{
			op: arp.OperationRequest, to: clientMAC, from: ownMAC, senderMAC: ownMAC, sender: own4, targetMAC: clientMAC, target: client4,
		}.bytes(t)},
		{"NDP to the group", [6]byte{}, client6, own6, ndpSpec{
			to: groupOf(client6), from: ownMAC, source: own6, dest: netip.AddrFrom16(solicitedNode(client6.As16())), hops: 255,
			message: ns(client6, ownMAC),
		}.bytes(t)},
		{"NDP to one", clientMAC, client6, own6, ndpSpec{
			to: clientMAC, from: ownMAC, source: own6, dest: client6, hops: 255, message: ns(client6, ownMAC),
		}.bytes(t)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out buffer
			n := layQuestion(&out, ownMAC, tt.mac, tt.addr, tt.own)
			if diff := cmp.Diff(tt.want, out[:n]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// answer4 and answer6 are what client4 and client6 send when they are asked.
func answer4() arpSpec {
	return arpSpec{
		op: arp.OperationReply, to: ownMAC, from: clientMAC, senderMAC: clientMAC, sender: client4, targetMAC: ownMAC, target: own4,
	}
}

func answer6() ndpSpec {
	return ndpSpec{to: ownMAC, from: clientMAC, source: client6, dest: own6, hops: 255, message: na(client6, clientMAC, true)}
}

func TestReadAnswer(t *testing.T) {
	change4 := func(f func(*arpSpec)) []byte { s := answer4(); f(&s); return s.bytes(t) }
	change6 := func(f func(*ndpSpec)) []byte { s := answer6(); f(&s); return s.bytes(t) }
	tests := []struct {
		name  string
		frame []byte
		want  netip.Addr // zero: not an answer
	}{
		{"ARP reply", answer4().bytes(t), client4},
		{"ARP request", change4(func(s *arpSpec) { s.op = arp.OperationRequest }), netip.Addr{}},
		{"ARP reply to another host", change4(func(s *arpSpec) { s.to = otherMAC }), netip.Addr{}},
		{"ARP reply of a group", change4(func(s *arpSpec) { s.senderMAC = broadcast }), netip.Addr{}},
		{"ARP reply cut short", answer4().bytes(t)[:41], netip.Addr{}},
		{"advertisement", answer6().bytes(t), client6},
		{"solicitation", change6(func(s *ndpSpec) { s.message = ns(client6, clientMAC) }), netip.Addr{}},
		{"advertisement to another host", change6(func(s *ndpSpec) { s.to = otherMAC }), netip.Addr{}},
		{"advertisement through a router", change6(func(s *ndpSpec) { s.hops = 254 }), netip.Addr{}},
		{"advertisement with a wrong checksum", change6(func(s *ndpSpec) { s.spoilChecksum = true }), netip.Addr{}},
		{"advertisement that claims to be longer", change6(func(s *ndpSpec) { s.payloadTooLong = 8 }), netip.Addr{}},
		{"advertisement cut short", answer6().bytes(t)[:60], netip.Addr{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			etherType := uint16(tt.frame[12])<<8 | uint16(tt.frame[13])
			addr, mac, ok := readAnswer(etherType, tt.frame, ownMAC)
			if ok != tt.want.IsValid() || ok && (addr != tt.want || mac != clientMAC) {
				t.Errorf("%v has %v: %v, want %v", addr, mac, ok, tt.want)
			}
		})
	}
}

// fakeSocket hands over frames and remembers what was sent.
type fakeSocket struct {
	in     [][]byte
	sent   []byte
	err    error
	closed int
}

func (s *fakeSocket) send(frame []byte) error { s.sent = bytes.Clone(frame); return s.err }

func (s *fakeSocket) poll(b []byte) (n int, err error) {
	if len(s.in) > 0 {
		n = copy(b, s.in[0])
		s.in = s.in[1:]
	}
	return n, s.err
}

func (s *fakeSocket) close() { s.closed++ }

// fakeCaller returns a Caller over one fake socket, and counts how often that is opened.
func fakeCaller() (c *Caller, s *fakeSocket, opened *int) {
	c, s, opened = OpenCaller(Interface{Index: 1, Name: "fake0", MAC: ownMAC}), new(fakeSocket), new(int)
	c.open = func(Interface, uint16, []bpf.RawInstruction) (questionSocket, error) { *opened++; return s, nil }
	return c, s, opened
}

// collect returns the hosts that have answered since the last call.
func collect(c *Caller) (answered []netip.Addr) {
	c.Collect(func(a netip.Addr) { answered = append(answered, a) })
	return answered
}

// TestCallerAllocates: a question and its answer make no garbage.
func TestCallerAllocates(t *testing.T) {
	c := OpenCaller(Interface{Index: 1, Name: "fake0", MAC: ownMAC})
	defer c.Close()
	s := &mirror{answer: answer4().bytes(t)}
	c.open = func(Interface, uint16, []bpf.RawInstruction) (questionSocket, error) { return s, nil }
	answers := 0
	count := func(netip.Addr) { answers++ }
	if n := testing.AllocsPerRun(100, func() { _ = c.Ask(client4, own4); c.Collect(count) }); n > 0 || answers == 0 {
		t.Errorf("%v allocations for a question, %d answers", n, answers)
	}
}

// mirror is a questionSocket that gives each question the same answer.
type mirror struct {
	answer []byte
	asked  bool
}

func (m *mirror) send([]byte) error { m.asked = true; return nil }

func (m *mirror) poll(b []byte) (n int, err error) {
	if m.asked {
		n, m.asked = copy(b, m.answer), false
	}
	return n, nil
}

func (m *mirror) close() {}

// TestCallerFollowsTheMAC asks one host that answers, falls silent, and answers with another MAC.
func TestCallerFollowsTheMAC(t *testing.T) {
	c, s, _ := fakeCaller()
	defer c.Close()
	ask := func(want [6]byte) {
		t.Helper()
		if err := c.Ask(client4, own4); err != nil {
			t.Fatal(err)
		}
		if [6]byte(s.sent) != want {
			t.Fatalf("asked %v, want %v", s.sent[:6], want)
		}
	}
	hear := func(from [6]byte) {
		t.Helper()
		answer, stranger := answer4(), answer4()
		answer.from, answer.senderMAC = from, from
		stranger.sender = foreign4 // nobody asked for that
		s.in = [][]byte{stranger.bytes(t), answer.bytes(t)}
		if got := collect(c); !slices.Equal(got, []netip.Addr{client4}) {
			t.Fatalf("collected %v, want %v", got, client4)
		}
		if got := collect(c); len(got) > 0 {
			t.Fatalf("collected %v a second time", got)
		}
	}
	ask(broadcast)
	hear(clientMAC)
	ask(clientMAC)
	ask(clientMAC)
	ask(broadcast)
	hear(otherMAC)
	ask(otherMAC)
}

// TestCallerReopens lets the socket fail: the next question opens another, and a closed Caller asks nothing.
func TestCallerReopens(t *testing.T) {
	c, s, opened := fakeCaller()
	s.err = errors.New("network is down")
	if err := c.Ask(client4, own4); err == nil {
		t.Error("a question that could not be sent gives no error")
	}
	s.err = nil
	if err := c.Ask(client4, own4); err != nil {
		t.Error(err)
	}
	s.err = errors.New("network is down")
	if got := collect(c); len(got) > 0 {
		t.Errorf("collected %v from a socket that fails", got)
	}
	s.err = nil
	if err := c.Ask(client4, own4); err != nil || *opened != 3 || s.closed != 2 {
		t.Errorf("after two failures: %v, opened %d times and closed %d times, want 3 and 2", err, *opened, s.closed)
	}
	c.Close()
	if err := c.Ask(client4, own4); err == nil || s.closed != 3 {
		t.Errorf("after Close: %v, closed %d times", err, s.closed)
	}
}

// TestCallerAsksLinux asks a Linux host for its own addresses, and for one that nobody has.
func TestCallerAsksLinux(t *testing.T) {
	w, _ := newClient(t)
	for _, a := range []string{own4.String() + "/24", own6.String() + "/64"} {
		if err := netns.AddAddr("lan0", a); err != nil {
			t.Fatal(err)
		}
	}
	c := OpenCaller(w.ifi)
	defer c.Close()
	for range 3 { // to all, then to the one that answered
		for addr, own := range map[netip.Addr]netip.Addr{client4: own4, client6: own6} {
			if err := errors.Join(c.Ask(foreign4, own4), c.Ask(addr, own)); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "answer of "+addr.String(), func() bool {
				got := collect(c)
				if len(got) > 0 && !slices.Equal(got, []netip.Addr{addr}) {
					t.Fatalf("%v answered, want %v", got, addr)
				}
				return len(got) > 0
			})
		}
	}
	netns.SetDown(t, "lan0")
	if err := c.Ask(client4, own4); err == nil {
		t.Error("asking over a link that is down gives no error")
	}
}

// TestCallerListensToFew asks more hosts than are listened to: the one that was asked longest ago is forgotten.
func TestCallerListensToFew(t *testing.T) {
	c, s, opened := fakeCaller()
	defer c.Close()
	hosts := make([]netip.Addr, maxHosts+1)
	for i := range hosts {
		hosts[i] = netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
	}
	ask := func(addrs ...netip.Addr) {
		t.Helper()
		for _, a := range addrs {
			if err := c.Ask(a, own4); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask(hosts[:maxHosts]...)
	ask(hosts[0]) // it is not the one that was asked longest ago any more
	ask(hosts[maxHosts], hosts[0])
	if diff := cmp.Diff([]int{maxHosts + 1, 1}, []int{*opened, s.closed}); diff != "" {
		t.Errorf("sockets opened and closed (-want +got):\n%s", diff)
	}
	ask(hosts[1])
	if *opened != maxHosts+2 {
		t.Errorf("%d sockets opened, want %d: the second host was asked longest ago", *opened, maxHosts+2)
	}
}

// TestCallerInAFlood has a host on the LAN send answers in the name of one that was asked until no more are taken. What another
// one answers meanwhile is heard all the same: nobody can make it seem dead.
func TestCallerInAFlood(t *testing.T) {
	w, _ := newClient(t)
	for _, a := range []string{own4.String() + "/24", own6.String() + "/64"} {
		if err := netns.AddAddr("lan0", a); err != nil {
			t.Fatal(err)
		}
	}
	forged4, forged6 := answer4(), answer6()
	forged4.sender = foreign4
	forged6.message = na(foreign6, clientMAC, true)
	for _, tt := range []struct {
		name                 string
		silent, answers, own netip.Addr
		forged               []byte
	}{
		{"ARP", foreign4, client4, own4, forged4.bytes(t)},
		{"NDP", foreign6, client6, own6, forged6.bytes(t)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := OpenCaller(w.ifi)
			defer c.Close()
			if err := c.Ask(tt.silent, tt.own); err != nil {
				t.Fatal(err)
			}
			for range 4000 { // a socket holds some hundred
				w.send(tt.forged)
			}
			if err := c.Ask(tt.answers, tt.own); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "answer of "+tt.answers.String(), func() bool { return slices.Contains(collect(c), tt.answers) })
		})
	}
}
