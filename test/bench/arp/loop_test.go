package arp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"

	"github.com/mdlayher/arp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// listen opens a socket for those ARP frames on an interface that the filter passes.
func listen(ifi *net.Interface, filter []bpf.Instruction) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, fmt.Errorf("open packet socket: %w", err)
	}
	if err := attach(fd, filter); err != nil {
		return 0, fmt.Errorf("attach filter: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: arpProtocol, Ifindex: ifi.Index}); err != nil {
		return 0, fmt.Errorf("bind to %s: %w", ifi.Name, err)
	}
	return fd, nil
}

func attach(fd int, filter []bpf.Instruction) error {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, 0, len(raw))
	for _, r := range raw {
		program = append(program, unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K})
	}
	prog := &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, prog)
}

// listenDeaf opens a socket that no frame passes to: what it costs is the least that any socket for ARP does.
func listenDeaf(ifi *net.Interface) (closeIt func(), err error) {
	fd, err := listen(ifi, []bpf.Instruction{bpf.RetConstant{Val: 0}})
	return func() { _ = unix.Close(fd) }, err
}

// readPlain reads all ARP frames with the usual library and throws them away, as a responder without a filter does with what is
// not for it.
func readPlain(ifi *net.Interface) (closeIt func(), err error) {
	c, err := arp.Dial(ifi)
	if err != nil {
		return nil, fmt.Errorf("open ARP client: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, _, err := c.Read(); err != nil {
				return // it is closed
			}
		}
	}()
	return func() { _ = c.Close(); <-done }, nil
}

// loop is the least that a program in Go can do to answer for an address: blocking system calls on a thread, and hardly a
// check. What it takes is the machine's share of what a Responder takes.
type loop struct {
	fd  int
	mac [6]byte
}

// startLoop starts a loop, which runs as long as the process.
func startLoop(ifi *net.Interface, addr netip.Addr) error {
	fd, err := listen(ifi, []bpf.Instruction{
		bpf.LoadAbsolute{Off: offTarget, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(addr.AsSlice()), SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	l := &loop{fd: fd, mac: [6]byte(ifi.HardwareAddr)}
	go func() {
		err := l.run()
		fmt.Fprintln(os.Stderr, "bare loop:", err)
		os.Exit(1)
	}()
	return nil
}

// run turns each request into its reply, in place.
func (l *loop) run() error {
	runtime.LockOSThread()
	buf := make([]byte, 2048)
	for {
		n, err := unix.Read(l.fd, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n < frameLen || buf[offOperation] != 1:
			continue
		}
		wanted := [4]byte(buf[offTarget:])
		copy(buf, buf[offSenderMAC:offSender]) // Ethernet: to the asker
		copy(buf[6:], l.mac[:])
		buf[offOperation] = 2
		copy(buf[offTargetMAC:frameLen], buf[offSenderMAC:]) // MAC and IP address
		copy(buf[offSenderMAC:], l.mac[:])
		copy(buf[offSender:], wanted[:])
		if _, err := unix.Write(l.fd, buf[:n]); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}
