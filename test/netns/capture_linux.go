package netns

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tap is a packet socket on one interface that sees and sends whole Ethernet frames.
type Tap struct {
	tb   testing.TB
	file *os.File
}

// Frame is one captured frame.
type Frame struct {
	// At is when it was read.
	At time.Time
	// Data begins with the Ethernet header.
	Data []byte
}

// Capture opens a tap on an interface of this namespace; [Peer.Capture] on one of a peer's. It sees frames that come in,
// and not those that leave.
func Capture(tb testing.TB, name string) *Tap {
	tb.Helper()
	Require(tb)
	t, err := capture(tb, name)
	must(tb, err)
	return t
}

// Capture opens a tap on an interface of the peer.
func (p *Peer) Capture(name string) *Tap {
	p.tb.Helper()
	var t *Tap
	p.Do(func() (err error) {
		t, err = capture(p.tb, name)
		return err
	})
	return t
}

func capture(tb testing.TB, name string) (*Tap, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "tap "+name)
	tb.Cleanup(func() { _ = file.Close() })
	// Room for a burst of a thousand addresses, whatever the machine's default is.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return nil, fmt.Errorf("ignore outgoing frames: %w", err)
	}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: ifi.Index})
	if err != nil {
		return nil, fmt.Errorf("bind to %s: %w", name, err)
	}
	return &Tap{tb: tb, file: file}, nil
}

// bigEndian returns v as the kernel wants EtherTypes in addresses, whatever the machine's own order.
func bigEndian(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Send sends a frame as it is.
func (t *Tap) Send(frame []byte) {
	t.tb.Helper()
	if _, err := t.file.Write(frame); err != nil {
		t.tb.Fatalf("send frame: %v", err)
	}
}

// Next returns the next frame that match accepts, or false if there is none before the time is over.
func (t *Tap) Next(within time.Duration, match func([]byte) bool) (Frame, bool) {
	t.tb.Helper()
	must(t.tb, t.file.SetReadDeadline(time.Now().Add(within)))
	buf := make([]byte, 65536)
	for {
		n, err := t.file.Read(buf)
		switch {
		case os.IsTimeout(err):
			return Frame{}, false
		case err != nil:
			t.tb.Fatalf("read frame: %v", err)
		case match(buf[:n]):
			return Frame{At: time.Now(), Data: append([]byte(nil), buf[:n]...)}, true
		}
	}
}
