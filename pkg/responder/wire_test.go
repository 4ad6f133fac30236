package responder

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"

	"github.com/invar-lb/invar/test/netns"
)

// patience bounds how long a test waits for a frame that has to come.
const patience = 15 * time.Second

// wire is a LAN with a responder's interface on one side and the test on the other.
type wire interface {
	// config returns the configuration of a responder on the interface.
	config() Config
	// send sends a frame to the interface.
	send(frame []byte)
	// next returns the next frame that came from the interface.
	next() ([]byte, bool)
}

// onBoth runs a test body over a wire of channels and over a real cable.
func onBoth(t *testing.T, body func(t *testing.T, w wire)) {
	t.Run("fake", func(t *testing.T) { body(t, newFakeWire(t)) })
	t.Run("veth", func(t *testing.T) { body(t, newVethWire(t)) })
}

func testLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }

// fakeWire opens fakeConns, one for each EtherType.
type fakeWire struct {
	t   *testing.T
	out chan []byte // from the interface

	mu    sync.Mutex
	conns map[uint16]*fakeConn
	fail  error // what opening returns
	// sent is called before a frame is passed on, if set, and told with what the kernel is told.
	sent, told func(frame []byte)
	// filterLen bounds the length of a filter, as the kernel's memory does; 0: no bound.
	filterLen int
	// filterErr is what replacing a filter returns, once.
	filterErr error
}

func newFakeWire(t *testing.T) *fakeWire {
	return &fakeWire{t: t, out: make(chan []byte, 1<<16), conns: make(map[uint16]*fakeConn)}
}

func (w *fakeWire) config() Config {
	return Config{
		Interface: Interface{Index: 1, Name: "fake0", MAC: ownMAC}, Logger: testLogger(), Stats: new(Stats), open: w.open,
	}
}

func (w *fakeWire) open(_ Interface, etherType uint16, filter []bpf.RawInstruction) (conn, error) {
	w.mu.Lock()
	fail := w.fail
	w.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	c := &fakeConn{wire: w, in: make(chan []byte), broken: make(chan error, 1), stop: make(chan struct{})}
	if err := c.setFilter(filter); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[etherType] = c
	return c, nil
}

func (w *fakeWire) conn(etherType uint16) *fakeConn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns[etherType]
}

func (w *fakeWire) send(frame []byte) {
	c := w.conn(uint16(frame[12])<<8 | uint16(frame[13]))
	if c == nil || !c.passes(frame) {
		return
	}
	select {
	case c.in <- frame:
	case <-c.stop:
	case <-time.After(patience):
		w.t.Error("nobody reads the frame")
	}
}

func (w *fakeWire) next() ([]byte, bool) {
	select {
	case frame := <-w.out:
		return frame, true
	case <-time.After(patience):
		return nil, false
	}
}

// fakeConn is a conn that reads and writes the channels of its wire. It has the kernel's filter and groups.
type fakeConn struct {
	wire   *fakeWire
	in     chan []byte
	broken chan error // makes a read fail
	once   sync.Once
	stop   chan struct{}

	mu     sync.Mutex
	filter func(frame []byte) bool
	groups []netip.Addr
	closed bool
}

func (c *fakeConn) read(b []byte) (int, error) {
	select {
	case <-c.stop:
		return 0, os.ErrDeadlineExceeded
	default:
	}
	select {
	case frame := <-c.in:
		return copy(b, frame), nil
	case err := <-c.broken:
		return 0, err
	case <-c.stop:
		return 0, os.ErrDeadlineExceeded
	}
}

func (c *fakeConn) tellKernel(frame []byte) error {
	if c.wire.told != nil {
		c.wire.told(frame)
	}
	return nil
}

func (c *fakeConn) answer(frame []byte) error {
	if c.wire.sent != nil {
		c.wire.sent(frame)
	}
	c.wire.out <- bytes.Clone(frame)
	return nil
}

func (c *fakeConn) send(frame []byte) error { return c.answer(frame) }

func (c *fakeConn) setFilter(filter []bpf.RawInstruction) error {
	if c.wire.filterLen > 0 && len(filter) > c.wire.filterLen {
		return errNoMemory
	}
	c.wire.mu.Lock()
	err := c.wire.filterErr
	c.wire.filterErr = nil
	c.wire.mu.Unlock()
	if err != nil {
		return err
	}
	code, ok := bpf.Disassemble(filter)
	if !ok {
		return errors.New("filter has unknown instructions")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.filter = machine(c.wire.t, code)
	return nil
}

func (c *fakeConn) passes(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.filter(frame)
}

func (c *fakeConn) join(group netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.groups = append(c.groups, group)
	return nil
}

func (c *fakeConn) leave(group netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, g := range c.groups {
		if g == group {
			c.groups = append(c.groups[:i], c.groups[i+1:]...)
			return nil
		}
	}
	return errors.New("group was not joined")
}

func (c *fakeConn) interrupt() { c.once.Do(func() { close(c.stop) }) }

func (c *fakeConn) close() {
	c.interrupt()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// vethWire is a cable with a tap at its far end.
type vethWire struct {
	ifi  Interface
	tap  *netns.Tap
	peer *netns.Peer
}

func newVethWire(tb testing.TB) *vethWire {
	netns.Require(tb)
	peer := netns.NewPeer(tb)
	netns.Veth(tb, peer, "lan0")
	netns.SetDown(tb, "lan0")
	netns.SetMAC(tb, "lan0", ownMAC[:])
	netns.SetUp(tb, "lan0")
	netns.WaitCable(tb, peer, "lan0")
	ifi := Interface{Index: netns.Index(tb, "lan0"), Name: "lan0", MAC: ownMAC}
	return &vethWire{ifi: ifi, tap: peer.Capture("lan0"), peer: peer}
}

func (w *vethWire) config() Config {
	return Config{Interface: w.ifi, Logger: testLogger(), Stats: new(Stats)}
}

func (w *vethWire) send(frame []byte) { w.tap.Send(frame) }

// next passes over what the kernel sends by itself: router solicitations, multicast reports, and the detection of
// duplicates of its link-local address.
func (w *vethWire) next() ([]byte, bool) {
	f, ok := w.tap.Next(patience, func(b []byte) bool {
		if len(b) >= minFrame && b[12] == 8 && b[13] == 6 {
			return true
		}
		return len(b) >= offICMPOption && b[12] == 0x86 && (b[offICMP] == typeNA || b[offICMP] == typeNS) && b[offICMPTarget] != 0xfe
	})
	return f.Data, ok
}
