package responder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var errNoMemory error = unix.ENOMEM

// hold returns a set in which each address has a counter.
func hold(addrs ...netip.Addr) map[netip.Addr]Entry {
	set := make(map[netip.Addr]Entry)
	for _, addr := range addrs {
		set[addr] = Entry{Counter: new(Counter)}
	}
	return set
}

// expect fails the test unless the next frames are want.
func expect(t *testing.T, w wire, want ...[]byte) {
	t.Helper()
	for i := range want {
		got, ok := w.next()
		if !ok {
			t.Fatalf("frame %d of %d did not come", i+1, len(want))
		}
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Fatalf("frame %d of %d (-want +got):\n%s", i+1, len(want), diff)
		}
	}
}

// waitFor waits until the condition holds.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, patience)
		}
	}
}

// marker is a request by another client, and its answer. Since answers come in order, what follows the marker's answer is
// not an answer to what was sent before the marker: so a test shows that a frame is not answered, without waiting.
func marker(t *testing.T) (ask, answer []byte) {
	q, a := request(), reply()
	q.from, q.senderMAC, a.to, a.targetMAC = otherMAC, otherMAC, otherMAC, otherMAC
	q.sender, a.target = foreign4, foreign4
	return q.bytes(t), a.bytes(t)
}

func marker6(t *testing.T) (ask, answer []byte) {
	q, a := solicitation(), advertisement()
	q.from, q.message, a.to = otherMAC, ns(vip6, otherMAC), otherMAC
	q.source, a.dest = foreign6, foreign6
	return q.bytes(t), a.bytes(t)
}

func TestResponderARP(t *testing.T) {
	onBoth(t, func(t *testing.T, w wire) {
		r := Open(w.config())
		defer r.Close()
		r.Set(hold(vip4))
		ask, answer := marker(t)
		for _, row := range arpRows(t) {
			w.send(row.frame())
			if row.drop == Answered {
				expect(t, w, row.want.bytes(t))
			}
			w.send(ask)
			expect(t, w, answer)
		}
	})
}

func TestResponderNDP(t *testing.T) {
	onBoth(t, func(t *testing.T, w wire) {
		r := Open(w.config())
		defer r.Close()
		r.Set(hold(vip6))
		ask, answer := marker6(t)
		for _, row := range ndpRows(t) {
			w.send(row.frame())
			if row.drop == Answered {
				expect(t, w, row.want.bytes(t))
			}
			w.send(ask)
			expect(t, w, answer)
		}
	})
}

// TestResponderVLAN sends frames with VLAN tags to an interface that has no VLAN interfaces above it.
func TestResponderVLAN(t *testing.T) {
	tagged := func(frame []byte, vlan uint16) []byte {
		tag := binary.BigEndian.AppendUint16([]byte{0x81, 0x00}, vlan)
		return slices.Concat(frame[:12], tag, frame[12:])
	}
	w := newVethWire(t)
	r := Open(w.config())
	defer r.Close()
	r.Set(hold(vip4, vip6))

	w.send(tagged(request().bytes(t), 5))
	w.send(tagged(solicitation().bytes(t), 5))
	ask, answer := marker(t)
	ask6, answer6 := marker6(t)
	w.send(ask)
	expect(t, w, answer) // and nothing to VLAN 5
	w.send(ask6)
	expect(t, w, answer6)
	w.send(tagged(request().bytes(t), 0)) // a priority tag
	expect(t, w, reply().bytes(t))
}

func TestResponderSet(t *testing.T) {
	onBoth(t, func(t *testing.T, w wire) {
		r := Open(w.config())
		defer r.Close()
		if err := r.Err(); err != nil {
			t.Fatal(err)
		}
		w.send(request().bytes(t)) // nothing is held yet
		set := hold(vip4, vip6, foreign4)
		r.Set(set)
		w.send(request().bytes(t))
		expect(t, w, reply().bytes(t))
		w.send(solicitation().bytes(t))
		expect(t, w, advertisement().bytes(t))

		r.Set(hold(foreign4))
		w.send(request().bytes(t))
		w.send(solicitation().bytes(t))
		q, a := request(), reply()
		q.target, a.sender = foreign4, foreign4
		w.send(q.bytes(t))
		expect(t, w, a.bytes(t))

		again := hold(vip4, vip6)
		r.Set(again)
		w.send(solicitation().bytes(t))
		expect(t, w, advertisement().bytes(t))
		for addr, want := range map[netip.Addr]uint64{vip4: 1, vip6: 1, foreign4: 0} {
			if got := set[addr].Counter.Answers.Load(); got != want {
				t.Errorf("first counter of %v has %d answers, want %d", addr, got, want)
			}
		}
		waitFor(t, "second counter has one answer", func() bool { return again[vip6].Counter.Answers.Load() == 1 })
	})
}

func TestResponderAnnounce(t *testing.T) {
	onBoth(t, func(t *testing.T, w wire) {
		r := Open(w.config())
		set := hold(vip4, vip6)
		r.Set(set)
		for addr, frames := range map[netip.Addr][][]byte{
			vip4: announceARP(ownMAC, vip4), vip6: {defence().bytes(t)}, foreign4: nil, foreign6: nil,
		} {
			n, err := r.Announce(addr)
			if n != len(frames) || err != nil {
				t.Errorf("Announce(%v) = %d, %v, want %d frames", addr, n, err, len(frames))
			}
			expect(t, w, frames...)
		}
		if n4, n6 := set[vip4].Counter.Announcements.Load(), set[vip6].Counter.Announcements.Load(); n4 != 2 || n6 != 1 {
			t.Errorf("counted %d and %d announcements, want 2 and 1", n4, n6)
		}
		r.Close()
		if n, err := r.Announce(vip4); n != 0 || err != nil {
			t.Errorf("Announce after Close = %d, %v, want none", n, err)
		}
	})
}

// TestWithdrawnIsSilent floods a responder with requests while addresses come and go, and looks for an answer that is
// sent after Set has returned without its address.
func TestWithdrawnIsSilent(t *testing.T) {
	w := newFakeWire(t)
	var withdrawn atomic.Bool
	var late atomic.Int64
	w.sent = func([]byte) {
		for range 10 {
			if withdrawn.Load() {
				late.Add(1)
			}
			time.Sleep(10 * time.Microsecond) // keeps the answer going while Set runs
		}
	}
	r := Open(w.config())
	defer r.Close()
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		frame := request().bytes(t)
		for {
			select {
			case <-stop:
				return
			default:
				w.send(frame)
			}
		}
	})
	answers := 0
	for range 300 {
		withdrawn.Store(false)
		r.Set(hold(vip4))
		if _, ok := w.next(); ok {
			answers++
		}
		r.Set(hold(foreign4))
		withdrawn.Store(true)
		for len(w.out) > 0 {
			<-w.out
		}
	}
	close(stop)
	flood.Wait()
	if late.Load() > 0 {
		t.Errorf("%d answers for an address that was withdrawn", late.Load())
	}
	if answers != 300 {
		t.Errorf("answered in %d of 300 rounds", answers)
	}
}

func TestGroups(t *testing.T) {
	w := newFakeWire(t)
	r := Open(w.config())
	defer r.Close()
	third := netip.MustParseAddr("2001:db8::3")
	group := func(addr netip.Addr) netip.Addr { return netip.AddrFrom16(solicitedNode(addr.As16())) }
	for _, tt := range []struct {
		held []netip.Addr
		want []netip.Addr
	}{
		{[]netip.Addr{vip6}, []netip.Addr{nodes6, group(vip6)}},
		{[]netip.Addr{vip6, sameGroup}, []netip.Addr{nodes6, group(vip6)}},
		{[]netip.Addr{sameGroup, third, vip4}, []netip.Addr{nodes6, group(vip6), group(third)}},
		{[]netip.Addr{third}, []netip.Addr{nodes6, group(third)}},
	} {
		r.Set(hold(tt.held...))
		c := w.conn(etherTypeIPv6)
		c.mu.Lock()
		if diff := cmp.Diff(tt.want, c.groups, compareAddr); diff != "" {
			t.Errorf("groups for %v (-want +got):\n%s", tt.held, diff)
		}
		c.mu.Unlock()
	}
	c := w.conn(etherTypeIPv6)
	r.Set(hold(vip4))
	if c.mu.Lock(); !c.closed {
		t.Error("the IPv6 socket is open without an IPv6 address")
	}
	c.mu.Unlock()
}

func TestReopen(t *testing.T) {
	w := newFakeWire(t)
	cfg := w.config()
	states := make(chan struct{}, 100)
	cfg.OnState = func() { states <- struct{}{} }
	r := Open(cfg)
	defer r.Close()
	r.Set(hold(vip4, vip6))

	failure := errors.New("network is down")
	setFail := func(err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.fail = err
	}
	setFail(failure)
	for _, c := range []*fakeConn{w.conn(etherTypeARP), w.conn(etherTypeIPv6)} {
		c.broken <- failure
		<-states
	}
	if err := r.Err(); !errors.Is(err, failure) {
		t.Errorf("Err() = %v, want %v", err, failure)
	}
	if _, err := r.Announce(vip4); !errors.Is(err, failure) {
		t.Errorf("Announce error = %v, want %v", err, failure)
	}
	setFail(nil)
	<-states
	<-states
	if err := r.Err(); err != nil {
		t.Errorf("Err() = %v after opening again", err)
	}
	// What was held is held: addresses, filter, groups.
	w.send(request().bytes(t))
	expect(t, w, reply().bytes(t))
	w.send(solicitation().bytes(t))
	expect(t, w, advertisement().bytes(t))
	if groups := w.conn(etherTypeIPv6).groups; len(groups) != 2 {
		t.Errorf("joined %v after opening again", groups)
	}
	if n := cfg.Stats.Reopened.Load(); n != 2 {
		t.Errorf("counted %d reopened sockets, want 2", n)
	}
}

func TestOpenFails(t *testing.T) {
	w := newFakeWire(t)
	w.fail = unix.EPERM
	cfg := w.config()
	r := Open(cfg)
	r.Set(hold(vip4))
	if err := r.Err(); !errors.Is(err, unix.EPERM) {
		t.Errorf("Err() = %v, want EPERM", err)
	}
	r.Close()
	r.Close()
	if err := r.Err(); err == nil {
		t.Error("no error from a closed responder")
	}
}

// TestFilterMemory: a kernel that grants little memory gets a coarser filter, not none.
func TestFilterMemory(t *testing.T) {
	w := newFakeWire(t)
	w.filterLen = 100
	r := Open(w.config())
	defer r.Close()
	set := hold(vip4)
	for i := range 250 {
		set[netip.AddrFrom4([4]byte{10, byte(i), 0, 1})] = Entry{}
	}
	r.Set(set)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	w.send(request().bytes(t))
	expect(t, w, reply().bytes(t))
	far := request()
	far.target = netip.MustParseAddr("203.0.113.1")
	if w.conn(etherTypeARP).passes(far.bytes(t)) {
		t.Error("the filter passes everything")
	}
}

// TestFilterFails: if the kernel refuses a filter, the old one would keep new addresses from being answered, so the socket
// is opened anew.
func TestFilterFails(t *testing.T) {
	w := newFakeWire(t)
	cfg := w.config()
	r := Open(cfg)
	defer r.Close()
	first := w.conn(etherTypeARP)
	w.mu.Lock()
	w.filterErr = unix.EINVAL
	w.mu.Unlock()
	r.Set(hold(vip4))
	waitFor(t, "another socket", func() bool { return w.conn(etherTypeARP) != first && r.Err() == nil })
	w.send(request().bytes(t))
	expect(t, w, reply().bytes(t))
	if n := cfg.Stats.Reopened.Load(); n != 1 {
		t.Errorf("counted %d reopened sockets, want 1", n)
	}
}

// testLane returns a lane that nobody reads for: a test calls its handle.
func testLane(p protocol, stats *Stats, onSighting func(Sighting)) *lane {
	l := &lane{protocol: p, stats: stats, onSighting: onSighting, alive: func() bool { return true }}
	l.state.Store(testSnapshot())
	return l
}

// TestStale: whoever asked while the process stood still gets no answer when it goes on, and nothing is announced.
func TestStale(t *testing.T) {
	ask4, answer4 := marker(t)
	ask6, answer6 := marker6(t)
	for name, tt := range map[string]struct {
		protocol    Protocol
		addr        netip.Addr
		frame       []byte
		ask, answer []byte
	}{
		"ARP": {ARP, vip4, request().bytes(t), ask4, answer4},
		"NDP": {NDP, vip6, solicitation().bytes(t), ask6, answer6},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w wire) {
				var alive atomic.Bool
				cfg := w.config()
				cfg.Alive = alive.Load
				r := Open(cfg)
				defer r.Close()
				set := hold(tt.addr)
				r.Set(set)
				w.send(tt.frame)
				waitFor(t, "dropped", func() bool { return cfg.Stats.Drops(tt.protocol, DropStale) == 1 })
				if n, err := r.Announce(tt.addr); n != 0 || err != nil {
					t.Errorf("announced by %d frames, error %v", n, err)
				}
				if counter := set[tt.addr].Counter; counter.Requests.Load() != 0 {
					t.Errorf("%d requests counted", counter.Requests.Load())
				}
				alive.Store(true)
				w.send(tt.ask)
				expect(t, w, tt.answer)
			})
		})
	}
}

// TestSendFails: an answer that doesn't get out is a drop, not an answer.
func TestSendFails(t *testing.T) {
	stats, s := new(Stats), testSnapshot()
	l := testLane(protocolARP, stats, func(Sighting) {})
	l.state.Store(s)
	l.handle(&sinkConn{err: unix.ENOBUFS}, request().bytes(t), new(buffer))
	counter := s.v4[vip4.As4()].Counter
	if requests, answers := counter.Requests.Load(), counter.Answers.Load(); requests != 1 || answers != 0 {
		t.Errorf("%d requests and %d answers, want 1 and 0", requests, answers)
	}
	drops := make(map[string]uint64)
	stats.EachDrop(func(p Protocol, d Drop, n uint64) {
		if n > 0 {
			drops[p.String()+" "+d.String()] = n
		}
	})
	if diff := cmp.Diff(map[string]uint64{"arp send": 1}, drops); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	var waits []time.Duration
	for range 12 {
		waits = append(waits, b.step())
	}
	if waits[0] != backoffMin || waits[1] != 2*backoffMin || waits[11] != backoffMax || !slices.IsSorted(waits) {
		t.Errorf("pauses %v", waits)
	}
	b.lived(time.Second)
	if got := b.step(); got != backoffMax {
		t.Errorf("pause %v after a socket that soon failed, want %v", got, backoffMax)
	}
	b.lived(time.Minute)
	if got := b.step(); got != backoffMin {
		t.Errorf("pause %v after a socket that worked, want %v", got, backoffMin)
	}
}

// TestHandleAllocates covers the whole way of a frame but for the system calls.
func TestHandleAllocates(t *testing.T) {
	var seen Sighting
	l := testLane(protocolARP, new(Stats), func(s Sighting) { seen = s })
	sink := &sinkConn{}
	out := new(buffer)
	for name, frame := range map[string][]byte{
		"answered": request().bytes(t), "foreign": bytes.Repeat([]byte{1}, 60), "claim": claim4().bytes(t),
	} {
		if n := testing.AllocsPerRun(1000, func() { l.handle(sink, frame, out) }); n != 0 {
			t.Errorf("%s: %v allocations for a frame", name, n)
		}
	}
	if want := (Sighting{vip4, clientMAC, Claim}); seen != want {
		t.Errorf("saw %v, want %v", seen, want)
	}
	l.protocol = protocolNDP
	for name, frame := range map[string][]byte{"answered": solicitation().bytes(t), "claim": claim6().bytes(t)} {
		if n := testing.AllocsPerRun(1000, func() { l.handle(sink, frame, out) }); n != 0 {
			t.Errorf("NDP, %s: %v allocations for a frame", name, n)
		}
	}
	if want := (Sighting{vip6, clientMAC, Claim}); seen != want {
		t.Errorf("saw %v, want %v", seen, want)
	}
}

// sinkConn takes answers, or fails to.
type sinkConn struct {
	fakeConn
	err error
}

func (c *sinkConn) answer([]byte) error { return c.err }
