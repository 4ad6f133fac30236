package netns

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
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
	// Data begins with the Ethernet header, VLAN tag included.
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
	// The kernel takes VLAN tags out of frames before a packet socket sees them; this tells which.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return nil, fmt.Errorf("ask for VLAN tags: %w", err)
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
	for {
		frame, err := t.read()
		switch {
		case os.IsTimeout(err):
			return Frame{}, false
		case err != nil:
			t.tb.Fatalf("read frame: %v", err)
		case match(frame):
			return Frame{At: time.Now(), Data: frame}, true
		}
	}
}

// read returns the next frame as it was on the wire, with its VLAN tag.
func (t *Tap) read() ([]byte, error) {
	raw, err := t.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	frame, control := make([]byte, 65536), make([]byte, 128)
	var n, controls int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, controls, _, _, failed = unix.Recvmsg(int(fd), frame, control, 0)
		return failed != unix.EAGAIN
	})
	if err = cmp.Or(err, failed); err != nil {
		return nil, err
	}
	tag, err := tagOf(control[:controls])
	return slices.Concat(frame[:12], tag, frame[12:n]), err
}

// tagOf returns the VLAN tag of a frame from what the kernel says about it (packet(7), PACKET_AUXDATA), or nothing.
func tagOf(control []byte) ([]byte, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("parse control messages: %w", err)
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA {
			continue
		}
		var aux unix.TpacketAuxdata
		if _, err := binary.Decode(m.Data, binary.NativeEndian, &aux); err != nil {
			return nil, fmt.Errorf("parse auxiliary data: %w", err)
		}
		if aux.Status&unix.TP_STATUS_VLAN_VALID != 0 {
			tag := binary.BigEndian.AppendUint16(nil, aux.Vlan_tpid)
			return binary.BigEndian.AppendUint16(tag, aux.Vlan_tci), nil
		}
	}
	return nil, nil
}
