package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// maxPacket is the largest UDP packet that there is.
	maxPacket = 1 << 16
	// receiveBuffer is what the kernel is asked to keep of packets that come faster than they are read; it may grant less.
	receiveBuffer = 2 << 20
	// acceptPause is that after a connection could not be accepted: too many files are open, say.
	acceptPause = 100 * time.Millisecond
	// maxConnections bounds how many connections others may keep here: of presence, and as many of all other kinds. maxFromOne
	// bounds how many of each one address may. A peer has one or two; anybody on the LAN may open some, and must not take the
	// places of all. No other kind lasts for longer than helloWait and memberlist's time-out.
	maxConnections = 1024
	maxFromOne     = 16
	// maxStream bounds what is read from a connection, most of which waits in memory until it is decrypted. All that a hundred
	// thousand addresses take is less.
	maxStream = 16 << 20
	// streamWait bounds how long a peer may take to accept what is sent on a connection, where memberlist sets no limit.
	streamWait = time.Second
)

// transport is memberlist's way to the network. memberlist's own one throws 64 kB away for each packet, which is most of the
// garbage of a speaker at rest, and would not know the connections of presence.
type transport struct {
	logger  *slog.Logger
	sign    func(from netip.Addr) // called for each packet and each connection
	tcp     *net.TCPListener
	udp     *datagrams
	packets chan *memberlist.Packet
	streams chan net.Conn
	done    chan struct{} // closed by Shutdown
	readers sync.WaitGroup

	mu       sync.Mutex
	present  map[net.Conn]bool // connections of presence
	visiting map[net.Conn]bool // all others, from when they are accepted until they are closed
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport listens. If no port is given it takes one that is free for both TCP and UDP, which may need some attempts.
func newTransport(addr netip.Addr, port int, logger *slog.Logger, sign func(netip.Addr)) (t *transport, err error) {
	for range 10 {
		if t, err = listen(addr, port, logger, sign); err == nil || port != 0 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	_ = t.udp.conn.SetReadBuffer(receiveBuffer) // with less, the gossip repeats more
	t.readers.Go(t.readPackets)
	t.readers.Go(t.acceptStreams)
	return t, nil
}

func listen(addr netip.Addr, port int, logger *slog.Logger, sign func(netip.Addr)) (*transport, error) {
	at := netip.AddrPortFrom(addr, uint16(port))
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	at = netip.AddrPortFrom(addr, tcp.Addr().(*net.TCPAddr).AddrPort().Port())
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	packets, err := newDatagrams(udp)
	if err != nil {
		return nil, errors.Join(err, udp.Close(), tcp.Close())
	}
	return &transport{
		logger: logger, sign: sign, tcp: tcp, udp: packets, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		done: make(chan struct{}), present: map[net.Conn]bool{}, visiting: map[net.Conn]bool{},
	}, nil
}

// port returns the port that it listens on.
func (t *transport) port() int { return int(t.tcp.Addr().(*net.TCPAddr).AddrPort().Port()) }

// FinalAdvertiseAddr implements [memberlist.Transport]: the peers reach this speaker where it listens.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.tcp.Addr().(*net.TCPAddr).IP, t.port(), nil
}

// PacketCh implements [memberlist.Transport].
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements [memberlist.Transport].
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// WriteTo implements [memberlist.Transport]. It returns when the packet was sent, as memberlist measures round trips.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("send packet: %w", err)
	}
	err = t.udp.write(b, to)
	return time.Now(), err
}

// WriteToAddress implements [memberlist.NodeAwareTransport].
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// dial connects from the address that it listens on: by that the peers know this node, and that counts which come from it.
func (t *transport) dial(ctx context.Context, addr string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout, LocalAddr: &net.TCPAddr{IP: t.tcp.Addr().(*net.TCPAddr).IP}}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err == nil {
		t.sign(hostOf(conn))
	}
	return conn, err
}

// DialTimeout implements [memberlist.Transport].
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	conn, err := t.dial(context.Background(), addr, timeout)
	if err != nil {
		return nil, err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(streamWait)) // can't fail on a connection that is open
	return conn, nil
}

// DialAddressTimeout implements [memberlist.NodeAwareTransport].
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// Shutdown implements [memberlist.Transport].
func (t *transport) Shutdown() error {
	t.mu.Lock()
	select {
	case <-t.done:
		t.mu.Unlock()
		return nil
	default:
	}
	close(t.done)
	err := t.tcp.Close() // first: a peer whose connection is closed tries again at once, and is to be refused
	for conn := range t.present {
		_ = conn.Close()
	}
	t.mu.Unlock()
	err = errors.Join(err, t.udp.close())
	t.readers.Wait()
	return err
}

// readPackets hands packets over until Shutdown. They are small, and only as much memory as they need is spent on each.
func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.udp.read(buf)
		now := time.Now()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			t.logger.Debug("reading packet failed", "err", err)
			continue
		case n == 0:
			continue
		}
		t.sign(from.Addr())
		p := &memberlist.Packet{Buf: bytes.Clone(buf[:n]), From: net.UDPAddrFromAddrPort(from), Timestamp: now}
		select {
		case t.packets <- p:
		case <-t.done:
			return
		}
	}
}

// acceptStreams accepts connections until Shutdown.
func (t *transport) acceptStreams() {
	for {
		conn, err := t.tcp.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			t.logger.Debug("accepting connection failed", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-t.done:
				return
			}
			continue
		}
		t.sign(hostOf(conn))
		if !t.admit(t.visiting, conn) {
			_ = conn.Close()
			continue
		}
		go t.accept(conn)
	}
}

// accept keeps a connection of presence and hands any other one to memberlist.
func (t *transport) accept(conn net.Conn) {
	var first [1]byte
	_ = conn.SetReadDeadline(time.Now().Add(helloWait))
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		t.part(t.visiting, conn)
		_ = conn.Close()
		return
	}
	if first[0] == presenceHello {
		t.part(t.visiting, conn)
		t.keep(conn)
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	s := &stream{Conn: conn, t: t, reader: io.LimitReader(io.MultiReader(bytes.NewReader(first[:]), conn), maxStream)}
	select {
	case t.streams <- s:
	case <-t.done:
		_ = s.Close()
	}
}

// stream is a visiting connection that memberlist has. The first byte has been read already.
type stream struct {
	net.Conn
	t      *transport
	reader io.Reader
}

func (s *stream) Read(b []byte) (int, error) { return s.reader.Read(b) }

func (s *stream) Close() error {
	s.t.part(s.t.visiting, s.Conn)
	return s.Conn.Close()
}

// keep holds a connection of presence until its peer or this process ends.
func (t *transport) keep(conn net.Conn) {
	defer conn.Close()
	if !t.admit(t.present, conn) {
		return
	}
	defer t.part(t.present, conn)
	if _, err := conn.Write([]byte{presenceReply}); err != nil {
		return
	}
	waitForEnd(conn)
}

// admit takes conn in among others of its kind, if there is room for it, and reports whether there was.
func (t *transport) admit(among map[net.Conn]bool, conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.done:
		return false
	default:
	}
	from, same := hostOf(conn), 0
	for other := range among {
		if hostOf(other) == from {
			same++
		}
	}
	if len(among) >= maxConnections || same >= maxFromOne {
		return false
	}
	among[conn] = true
	return true
}

// part gives the place of a connection to others.
func (t *transport) part(among map[net.Conn]bool, conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(among, conn)
}

// hostOf returns the address at the other end.
func hostOf(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr()
	}
	return netip.Addr{}
}
