package membership

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func listenDatagrams(t *testing.T, addr string) (*datagrams, netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d, err := newDatagrams(conn)
	if err != nil {
		t.Fatal(err)
	}
	return d, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestDatagrams sends packets of all sizes between two sockets, and from and to one of package net's.
func TestDatagrams(t *testing.T) {
	for _, loopback := range []string{"127.0.0.1", "::1"} {
		t.Run(loopback, func(t *testing.T) {
			a, fromA := listenDatagrams(t, loopback)
			b, fromB := listenDatagrams(t, loopback)
			plain, fromPlain := listenDatagrams(t, loopback)
			buf := make([]byte, maxPacket)
			for _, size := range []int{0, 1, 1400, 9000, 60000} {
				sent := bytes.Repeat([]byte{byte(size)}, size)
				check := func(n int, from netip.AddrPort, err error, want netip.AddrPort) {
					t.Helper()
					if err != nil || from != want || !bytes.Equal(buf[:n], sent) {
						t.Errorf("%d bytes of %d arrived from %v, want all from %v: %v", n, size, from, want, err)
					}
				}
				if err := errors.Join(a.write(sent, fromB), a.write(sent, fromPlain)); err != nil {
					t.Fatal(err)
				}
				n, from, err := b.read(buf)
				check(n, from, err, fromA)
				n, from, err = plain.conn.ReadFromUDPAddrPort(buf)
				check(n, from, err, fromA)
				if _, err := plain.conn.WriteToUDPAddrPort(sent, fromA); err != nil {
					t.Fatal(err)
				}
				n, from, err = a.read(buf)
				check(n, from, err, fromPlain)
			}
		})
	}
}

func TestDatagramErrors(t *testing.T) {
	d, _ := listenDatagrams(t, "127.0.0.1")
	for _, to := range []netip.AddrPort{{}, netip.MustParseAddrPort("[::1]:9")} {
		if err := d.write([]byte("x"), to); err == nil {
			t.Errorf("no error from sending to %v", to)
		}
	}
	if err := d.write(make([]byte, maxPacket), netip.MustParseAddrPort("127.0.0.1:9")); err == nil {
		t.Error("no error from sending more than a packet")
	}
	got := make(chan error)
	go func() {
		_, _, err := d.read(make([]byte, 1))
		got <- err
	}()
	time.AfterFunc(10*time.Millisecond, func() { _ = d.close() }) // it waits by then, most probably
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("reading from a socket that is closed: %v", err)
	}
	if err := d.write([]byte("x"), netip.MustParseAddrPort("127.0.0.1:9")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("sending from a socket that is closed: %v", err)
	}
}

func TestSockaddr(t *testing.T) {
	for _, want := range []string{"192.0.2.1:7946", "[2001:db8::1]:7946", "[fe80::1%1]:1", "[::ffff:192.0.2.1]:9"} {
		a := netip.MustParseAddrPort(want)
		sa, _ := sockaddrOf(a)
		if got := addrPortOf(&sa); got != a {
			t.Errorf("%v is %v after there and back", a, got)
		}
	}
	if got := scopeOf("lo"); got == 0 {
		t.Error("an interface's name gives no scope")
	}
}
