package responder

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// rawSocket is a packet socket that the runtime's poller knows nothing of, so that a frame wakes no thread: what it receives
// is of interest only when somebody looks.
type rawSocket int

// openQuestionSocket is the questionOpener of the kernel.
func openQuestionSocket(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (questionSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // deaf until it is bound
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", os.NewSyscallError("socket", err))
	}
	err = errors.Join(
		os.NewSyscallError("setsockopt", attach(fd, filter)),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, sendPriority)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{
			Protocol: etherType<<8 | etherType>>8, Ifindex: ifi.Index, // in network byte order
		})),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open packet socket: %w", err), unix.Close(fd))
	}
	return rawSocket(fd), nil
}

func attach(fd int, filter []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(filter))
	for i, ins := range filter {
		code[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
		Len: uint16(len(code)), Filter: &code[0],
	})
}

func (s rawSocket) send(frame []byte) error {
	_, err := unix.Write(int(s), frame)
	return os.NewSyscallError("write", err)
}

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
