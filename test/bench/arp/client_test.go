package arp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/netns"
)

// patience bounds the wait for an answer.
const patience = 5 * time.Second

// Offsets in an ARP frame (RFC 826).
const (
	offOperation = 21 // its low byte
	offSenderMAC = 22
	offSender    = 28 // IP address
	offTargetMAC = 32
	offTarget    = 38 // IP address
	frameLen     = 42
)

// arpProtocol is ARP's EtherType, as addresses of packet sockets have it: big-endian.
var arpProtocol = binary.NativeEndian.Uint16([]byte{0x08, 0x06})

// client is a host's packet socket, used with plain system calls, which allocate nothing.
type client struct {
	tb    testing.TB
	fd    int
	frame []byte // a request
	buf   []byte
}

// newClient opens a socket at the far end of a cable, for a host that has addr. It receives ARP only.
func newClient(tb testing.TB, peer *netns.Peer, link string, addr netip.Addr) *client {
	tb.Helper()
	c := &client{tb: tb, buf: make([]byte, 2048)}
	peer.Do(func() (err error) {
		c.frame = request(tb, link, addr)
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		tb.Cleanup(func() { _ = unix.Close(c.fd) })
		timeout := unix.NsecToTimeval(int64(patience))
		return errors.Join(
			unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
			unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: arpProtocol, Ifindex: netns.Index(tb, link)}),
		)
	})
	return c
}

// request returns the broadcast request of the host that has addr, on this side of the cable; for which address it asks is
// left open.
func request(tb testing.TB, link string, addr netip.Addr) []byte {
	tb.Helper()
	hw := netns.MAC(tb, link)
	p, err := arp.NewPacket(arp.OperationRequest, hw, addr, make([]byte, 6), netip.IPv4Unspecified())
	if err != nil {
		tb.Fatal(err)
	}
	payload, err := p.MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	frame, err := (&ethernet.Frame{
		Destination: ethernet.Broadcast, Source: hw, EtherType: ethernet.EtherTypeARP, Payload: payload,
	}).MarshalBinary()
	if err != nil {
		tb.Fatal(err)
	}
	return frame
}

// ask sends a request for addr and returns after how long the answer was there.
func (c *client) ask(addr netip.Addr) time.Duration {
	ip := addr.As4()
	begin := time.Now()
	c.send(ip)
	for {
		n, err := unix.Read(c.fd, c.buf)
		if errors.Is(err, unix.EINTR) {
			continue // a signal of Go's scheduler
		}
		if err != nil {
			c.tb.Fatalf("no answer for %s: %v", addr, err)
		}
		if n >= frameLen && c.buf[offOperation] == byte(arp.OperationReply) && [4]byte(c.buf[offSender:]) == ip {
			return time.Since(begin)
		}
	}
}

// send broadcasts a request.
func (c *client) send(ip [4]byte) {
	copy(c.frame[offTarget:], ip[:])
	if _, err := unix.Write(c.fd, c.frame); err != nil {
		c.tb.Fatal("send request: ", err)
	}
}
