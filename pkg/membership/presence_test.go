package membership

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

func (s *speaker) peer(t *testing.T, name string) Peer {
	t.Helper()
	peers := s.Peers()
	i := slices.IndexFunc(peers, func(p Peer) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("%s is no member: %v", name, peers)
	}
	return peers[i]
}

// waitFor waits for a condition that nothing tells about.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// TestEnded ends a speaker without a word: its peer notices before the heartbeats do, and that it is back.
func TestEnded(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	if _, err := a.Join([]netip.AddrPort{b.Addr()}); err != nil {
		t.Fatal(err)
	}
	p := a.peer(t, "node2")
	a.Attend([]Peer{p})
	waitFor(t, "the connection", func() bool { return b.transport.presences() == 1 })
	if a.Ended(p) {
		t.Fatal("ended, though it runs")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	a.eventually(t, "node2's end", func() bool { return a.Ended(p) })
	if !slices.Equal(a.names(), []string{"node1", "node2"}) {
		t.Errorf("members %v: the heartbeats were faster than the kernel", a.names())
	}

	again, err := Start(Config{
		Node: "node2", BindAddr: p.Addr, Port: int(p.Port), Key: k, Logger: a.cfg.Logger, OnChange: func() {},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	a.eventually(t, "node2 is back", func() bool { return !a.Ended(p) })

	a.Attend(nil)
	waitFor(t, "the connection's end", func() bool { return again.transport.presences() == 0 })
}

// TestNeverMetIsNotEnded is about a peer behind a firewall that refuses connections.
func TestNeverMetIsNotEnded(t *testing.T) {
	k := key(t, "secret")
	a := start(t, "node1", k)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := Peer{Name: "node2", Addr: netip.MustParseAddr("127.0.0.1"), Port: uint16(l.Addr().(*net.TCPAddr).Port)}
	a.Attend([]Peer{p})
	conn, err := l.Accept() // so it has tried
	if err != nil {
		t.Fatal(err)
	}
	_, _ = conn.Read(make([]byte, 1))
	_, _ = conn.Write([]byte("?")) // not what a speaker says
	_ = conn.Close()
	_ = l.Close()
	for range 5 { // attempts, which are refused
		if a.Ended(p) {
			t.Fatal("ended, though it never spoke")
		}
		time.Sleep(redialSoon)
	}
}

// TestStrangeStreams opens connections that say nothing, or too little: they end, and joining still works.
func TestStrangeStreams(t *testing.T) {
	k := key(t, "secret")
	a, b := start(t, "node1", k), start(t, "node2", k)
	var conns []net.Conn
	for _, hello := range []string{"", "x", "GET / HTTP/1.0\r\n\r\n"} {
		conn, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(hello)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if n, err := b.Join([]netip.AddrPort{a.Addr()}); n != 1 || err != nil {
		t.Errorf("Join = %d, %v", n, err)
	}
	for i, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is still open", i)
		}
	}
}

// redialing is a connection whose other end, when it is closed, tries at once to connect again.
type redialing struct {
	net.Conn
	to  string
	err error
}

// RemoteAddr implements [net.Conn].
func (*redialing) RemoteAddr() net.Addr { return nil }

func (r *redialing) Close() error {
	conn, err := net.Dial("tcp", r.to)
	if r.err = err; err == nil {
		_ = conn.Close()
	}
	return nil
}

// TestShutdownRefusesFirst is about a peer that finds its connection closed: the next one must be refused, or it would learn of the
// end only after a pause.
func TestShutdownRefusesFirst(t *testing.T) {
	a := start(t, "node1", key(t, "secret"))
	peer := &redialing{to: a.Addr().String()}
	if !a.transport.admit(a.transport.present, peer) {
		t.Fatal("not admitted")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(peer.err, syscall.ECONNREFUSED) {
		t.Errorf("connecting again: %v, want it refused", peer.err)
	}
}

// TestPresenceOfOneHost has one host open connections until no more are taken; a peer at another address still finds room.
func TestPresenceOfOneHost(t *testing.T) {
	a := start(t, "node1", key(t, "secret"))
	greet := func(from string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write([]byte{presenceHello}); err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadFull(conn, make([]byte, 1))
		return conn, err
	}
	for n := range maxFromOne {
		if _, err := greet("127.0.0.2"); err != nil {
			t.Fatalf("connection %d: %v", n+1, err)
		}
	}
	if _, err := greet("127.0.0.2"); err == nil {
		t.Error("one host got more places than it may have")
	}
	if _, err := greet("127.0.0.3"); err != nil {
		t.Errorf("no room for another host: %v", err)
	}
}

// TestDialFromBindAddress: a node with several addresses speaks from the one by which the peers know it.
func TestDialFromBindAddress(t *testing.T) {
	tr, err := newTransport(netip.MustParseAddr("127.0.0.4"), 0, slog.New(slog.DiscardHandler), func(netip.Addr) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Shutdown() })
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := tr.DialTimeout(peer.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.LocalAddr().(*net.TCPAddr).IP.String(); got != "127.0.0.4" {
		t.Errorf("dialled from %s, want 127.0.0.4", got)
	}
}

// TestVisitorsOfOneHost has one host open connections that are no speaker's and don't end by themselves. It gets no more places
// than it may have, a peer at another address still finds room, and a place that was left is another's.
func TestVisitorsOfOneHost(t *testing.T) {
	tr, err := newTransport(netip.MustParseAddr("127.0.0.1"), 0, slog.New(slog.DiscardHandler), func(netip.Addr) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Shutdown() })
	visit := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", tr.tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = conn.Write([]byte{'x'}) // for memberlist, which here takes nothing unless the test does; it fails if refused
		return conn
	}
	visitors := func(want int) {
		t.Helper()
		waitFor(t, fmt.Sprintf("%d visitors", want), func() bool {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			return len(tr.visiting) == want
		})
	}
	for range maxFromOne {
		visit("127.0.0.2")
	}
	visitors(maxFromOne)
	refused := visit("127.0.0.2")
	_ = refused.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := refused.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading from one connection too many: %v, want its end", err)
	}
	visit("127.0.0.3")
	visitors(maxFromOne + 1)
	for range maxFromOne + 1 {
		_ = (<-tr.streams).Close()
	}
	visitors(0)
	visit("127.0.0.2")
	visitors(1)
}

// TestLongStream has a host send more than anybody has to say.
func TestLongStream(t *testing.T) {
	ours, theirs := net.Pipe()
	tr := &transport{streams: make(chan net.Conn), done: make(chan struct{}), visiting: map[net.Conn]bool{}}
	go tr.accept(theirs)
	go func() { _, _ = io.CopyN(ours, zeros{}, 2*maxStream) }()
	s := <-tr.streams
	n, err := io.Copy(io.Discard, s)
	if n != maxStream || err != nil {
		t.Errorf("read %d bytes, %v, want %d and its end", n, err, maxStream)
	}
	_ = s.Close()
	_ = ours.Close()
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func (t *transport) presences() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.present)
}
