package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// AskInterval is the pause between two requests of an Asker.
const AskInterval = 5 * time.Millisecond

// Sighting is an ARP packet in which somebody said that an address is at a MAC.
type Sighting struct {
	At   time.Time // when the kernel received it, by the wall clock
	Addr netip.Addr
	MAC  string
}

// Asker broadcasts an ARP request for one address every AskInterval and notes who replies, until it is stopped. It asks as
// a host of its own behind another host's cable: from a MAC and an IPv4 address that are nobody else's, both ending in 254.
// So the kernel of that host learns nothing from the replies, and its connections go where they would without an Asker.
type Asker struct {
	tap     *tap
	stop    chan struct{}
	workers sync.WaitGroup

	mu    sync.Mutex
	asked []time.Time
	err   error // of asking
}

// Ask starts an Asker at a host's cable.
func (c *Cluster) Ask(host string, addr netip.Addr) (*Asker, error) {
	h, mac, err := c.hostAndMAC(host)
	if err != nil {
		return nil, err
	}
	from := h.IPv4.As4()
	mac[5], from[3] = 254, 254
	t, err := c.tap(host, func(f *ethernet.Frame, p *arp.Packet) bool {
		return p.Operation == arp.OperationReply && p.SenderIP == addr && slices.Equal(f.Destination, mac)
	})
	if err != nil {
		return nil, err
	}
	a := &Asker{tap: t, stop: make(chan struct{})}
	me := &net.Interface{HardwareAddr: mac}
	a.workers.Go(func() { a.ask(me, netip.AddrFrom4(from), addr) })
	return a, nil
}

// hostAndMAC returns a host, and its MAC as one to make another of.
func (c *Cluster) hostAndMAC(name string) (Host, net.HardwareAddr, error) {
	h, err := c.Host(name)
	if err != nil {
		return Host{}, nil, err
	}
	mac, err := net.ParseMAC(h.MAC)
	if err != nil {
		return Host{}, nil, fmt.Errorf("read MAC of %s: %w", name, err)
	}
	return h, mac, nil
}

func (a *Asker) ask(me *net.Interface, from, addr netip.Addr) {
	tick := time.NewTicker(AskInterval)
	defer tick.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-tick.C:
		}
		now := time.Now().Round(0) // by the wall clock, as the replies are
		err := ask(a.tap.conn, me, from, addr)
		a.mu.Lock()
		if err != nil {
			a.err = fmt.Errorf("ask for %s: %w", addr, err)
		} else {
			a.asked = append(a.asked, now)
		}
		a.mu.Unlock()
	}
}

// Since returns when requests were sent, and the replies that came, at t or later. The error is that of the last request
// that could not be sent or of the reading that came to an end, if any.
func (a *Asker) Since(t time.Time) (asked []time.Time, replies []Sighting, err error) {
	a.mu.Lock()
	err = a.err
	i, _ := slices.BinarySearchFunc(a.asked, t, time.Time.Compare)
	asked = slices.Clone(a.asked[i:])
	a.mu.Unlock()
	replies, readErr := a.tap.since(t)
	return asked, replies, errors.Join(err, readErr)
}

// Stop ends the asking. What was noted stays.
func (a *Asker) Stop() error {
	close(a.stop)
	a.workers.Wait()
	return a.tap.close()
}

// Listener notes the gratuitous ARP packets that reach a host, until it is stopped.
type Listener struct{ tap *tap }

// Listen starts a Listener on a host.
func (c *Cluster) Listen(host string) (*Listener, error) {
	t, err := c.tap(host, func(f *ethernet.Frame, p *arp.Packet) bool {
		return p.SenderIP == p.TargetIP && slices.Equal(f.Destination, ethernet.Broadcast)
	})
	if err != nil {
		return nil, err
	}
	return &Listener{t}, nil
}

// Since returns what has been heard since t, in the order in which it came.
func (l *Listener) Since(t time.Time) ([]Sighting, error) { return l.tap.since(t) }

// Stop ends the listening. What was noted stays.
func (l *Listener) Stop() error { return l.tap.close() }

// tapBuffer is room for the announcements of some thousand addresses, should this process not run for a while.
const tapBuffer = 8 << 20

// tap notes those ARP packets on a host's cable that match.
type tap struct {
	conn  *packet.Conn
	match func(*ethernet.Frame, *arp.Packet) bool
	ended chan struct{}

	mu     sync.Mutex
	seen   []Sighting
	err    error // that ended the reading
	closed bool
}

func (c *Cluster) tap(host string, match func(*ethernet.Frame, *arp.Packet) bool) (*tap, error) {
	t := &tap{match: match, ended: make(chan struct{})}
	err := c.Do(host, func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if t.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil); err != nil {
			return err
		}
		if err = t.prepare(); err != nil {
			return errors.Join(err, t.conn.Close())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", host, err)
	}
	go t.read()
	return t, nil
}

// prepare has the socket hear frames for other MACs too, with the time at which the kernel got each: this process may be kept
// from reading for longer than what is to be measured.
func (t *tap) prepare() error {
	raw, err := t.conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = stamped(int(fd)) })
	return errors.Join(err, failed, t.conn.SetPromiscuous(true))
}

// stamped has a packet socket tell when the kernel got each frame, and gives it a large buffer.
func stamped(fd int) error {
	return errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer)),
	)
}

// receive waits for a frame, its control messages, and the address of its interface.
func receive(raw syscall.RawConn, buf, oob []byte) (n, oobn int, from unix.Sockaddr, err error) {
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, _, from, failed = unix.Recvmsg(int(fd), buf, oob, 0)
		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
	})
	return n, oobn, from, errors.Join(err, failed)
}

// read notes what comes until the socket is closed or fails.
func (t *tap) read() {
	defer close(t.ended)
	raw, err := t.conn.SyscallConn()
	for buf, oob := make([]byte, 2048), make([]byte, 128); err == nil; {
		var n, oobn int
		if n, oobn, _, err = receive(raw, buf, oob); err == nil {
			err = t.note(buf[:n], oob[:oobn])
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.err = fmt.Errorf("read ARP packets: %w", err)
	}
}

func (t *tap) note(frame, control []byte) error {
	at, err := received(control)
	if err != nil {
		return err
	}
	var f ethernet.Frame
	var p arp.Packet
	if f.UnmarshalBinary(frame) != nil || p.UnmarshalBinary(f.Payload) != nil || !t.match(&f, &p) {
		return nil // anybody may send anything
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, Sighting{At: at, Addr: p.SenderIP, MAC: p.SenderHardwareAddr.String()})
	return nil
}

// received returns the time in the control messages of a packet: a struct __kernel_timespec, see socket(7).
func received(control []byte) (time.Time, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}, os.NewSyscallError("parse control messages", err)
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS_NEW && len(m.Data) >= 16 {
			seconds, nanoseconds := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return time.Unix(int64(seconds), int64(nanoseconds)), nil
		}
	}
	return time.Time{}, errors.New("the packet has no time stamp")
}

func (t *tap) since(at time.Time) ([]Sighting, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, _ := slices.BinarySearchFunc(t.seen, at, func(s Sighting, at time.Time) int { return s.At.Compare(at) })
	return slices.Clone(t.seen[i:]), t.err
}

func (t *tap) close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	err := t.conn.Close()
	<-t.ended
	return err
}
