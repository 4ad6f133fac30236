package responder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// sendPriority puts frames before bulk traffic in the interface's queue (TC_PRIO_INTERACTIVE), the highest priority that
// needs no CAP_NET_ADMIN.
const sendPriority = 6

// rawSocket is a packet socket that never blocks and that the runtime's poller knows nothing of, so that a frame wakes no thread
// but one that waits for it.
type rawSocket int

// openRaw opens a socket for one protocol on one interface. Its filter is in force before the first frame arrives.
func openRaw(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (rawSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // deaf until it is bound
	if err != nil {
		return 0, fmt.Errorf("open packet socket: %w", os.NewSyscallError("socket", err))
	}
	s := rawSocket(fd)
	// A queue that can't prioritise is no reason to fail.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, sendPriority)
	err = errors.Join(s.setFilter(filter), os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{
		Protocol: binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, etherType)), Ifindex: ifi.Index,
	})))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("open packet socket: %w", err), unix.Close(fd))
	}
	return s, nil
}

// openQuestionSocket is the questionOpener of the kernel.
func openQuestionSocket(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (questionSocket, error) {
	return openRaw(ifi, etherType, filter)
}

// setFilter replaces the kernel filter in one step.
func (s rawSocket) setFilter(filter []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(filter))
	for i, ins := range filter {
		code[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(int(s), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}))
}

// send sends a frame in one attempt: a full queue is an error, not a reason to wait.
func (s rawSocket) send(frame []byte) error {
	_, err := unix.Write(int(s), frame)
	return os.NewSyscallError("write", err)
}

// poll returns the length of the next frame, 0 if there is none now.
func (s rawSocket) poll(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), b)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case !errors.Is(err, unix.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
	}
}

func (s rawSocket) close() { _ = unix.Close(int(s)) }
