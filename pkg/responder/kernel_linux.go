package responder

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ownKernel shows this node's own IPv6 stack what the LAN is told. A packet socket's frames don't come by it, so it would go on taking
// the last holder of an address for its neighbour: see the package's documentation.
type ownKernel struct {
	fd int
	to unix.SockaddrInet6
}

// openOwnKernel opens a socket that hears nothing. What it sends to all nodes of the interface's own scope (RFC 4291 section 2.7.1)
// loops back from the interface and never leaves it.
func openOwnKernel(ifi Interface) (*ownKernel, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if err != nil {
		return nil, fmt.Errorf("open ICMPv6 socket: %w", os.NewSyscallError("socket", err))
	}
	nothing := new(unix.ICMPv6Filter)
	for i := range nothing.Data {
		nothing.Data[i] = ^uint32(0)
	}
	err = errors.Join(
		unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, nothing),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hopLimit),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open ICMPv6 socket: %w", os.NewSyscallError("setsockopt", err)), unix.Close(fd))
	}
	return &ownKernel{fd, unix.SockaddrInet6{Addr: [16]byte{0: 0xff, 1: 1, 15: 1}, ZoneId: uint32(ifi.Index)}}, nil
}

// hear shows the kernel the advertisement in a frame.
func (k *ownKernel) hear(frame []byte) error {
	return os.NewSyscallError("sendto", unix.Sendto(k.fd, frame[offICMP:], unix.MSG_DONTWAIT, &k.to))
}

func (k *ownKernel) close() { _ = unix.Close(k.fd) }
