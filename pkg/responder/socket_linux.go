package responder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// sendPriority puts frames before bulk traffic in the interface's queue (TC_PRIO_INTERACTIVE), the highest priority that
// needs no CAP_NET_ADMIN.
const sendPriority = 6

// rawSocket is a packet socket that the runtime's poller knows nothing of, so that a frame wakes no thread but one that waits for
// it. What never waits is a system call that the runtime's scheduler does not hear of, either: such a one takes a microsecond,
// while telling the scheduler, when the process was asleep, wakes a thread that then looks several times after it.
type rawSocket int

// mode says whether reading from a socket waits for a frame. Sending never waits.
type mode int

const (
	blocking    mode = 0
	nonblocking mode = unix.SOCK_NONBLOCK
)

// openRaw opens a socket for one protocol on one interface. Its filter is in force before the first frame arrives.
func openRaw(ifi Interface, etherType uint16, filter []bpf.RawInstruction, m mode) (rawSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|int(m), 0) // deaf until it is bound
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
	return openRaw(ifi, etherType, filter, nonblocking)
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
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(frame))), uintptr(len(frame)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("send", errno)
	}
	return nil
}

// poll returns the length of the next frame, 0 if there is none now. The socket must be nonblocking.
func (s rawSocket) poll(b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("read", errno)
		}
	}
}

func (s rawSocket) close() { _ = unix.Close(int(s)) }
