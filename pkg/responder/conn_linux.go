package responder

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// packetConn is a conn over AF_PACKET. The thread that reads waits in poll(2): with the runtime's poller another one would be
// woken first, which hands the frame over and doubles the time to answer on a machine whose processors are asleep.
type packetConn struct {
	rawSocket
	index       int // of the interface
	stop        int // an eventfd, which wakes the reader
	interrupted atomic.Bool
	wait        [2]unix.PollFd // of read
	mld         multicast
}

// openPacket is the opener of the kernel.
func openPacket(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (conn, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", os.NewSyscallError("eventfd", err))
	}
	socket, err := openRaw(ifi, etherType, filter)
	if err != nil {
		return nil, errors.Join(err, unix.Close(stop))
	}
	return &packetConn{
		rawSocket: socket, index: ifi.Index, stop: stop, mld: multicast{index: ifi.Index},
		wait: [2]unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}, {Fd: int32(stop), Events: unix.POLLIN}},
	}, nil
}

func (c *packetConn) read(b []byte) (int, error) {
	for !c.interrupted.Load() {
		if n, err := c.poll(b); n > 0 || err != nil {
			return n, err
		}
		if _, err := unix.Poll(c.wait[:], -1); err != nil && err != unix.EINTR {
			return 0, os.NewSyscallError("poll", err)
		}
	}
	return 0, os.ErrDeadlineExceeded
}

func (c *packetConn) answer(frame []byte) error { return c.send(frame) }

// join adds the group to the interface's receive filter and, through an ordinary IPv6 socket, makes the kernel report
// the membership by MLD, or a switch with MLD snooping would not forward solicitations. The latter fails where IPv6 is
// off for the interface, which must not keep the addresses from being answered.
func (c *packetConn) join(group netip.Addr) error {
	return errors.Join(c.member(unix.PACKET_ADD_MEMBERSHIP, group), c.mld.join(group))
}

func (c *packetConn) leave(group netip.Addr) error {
	return errors.Join(c.member(unix.PACKET_DROP_MEMBERSHIP, group), c.mld.leave(group))
}

// member changes the interface's receive filter (packet(7)).
func (c *packetConn) member(option int, group netip.Addr) error {
	mreq := &unix.PacketMreq{Ifindex: int32(c.index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
	copy(mreq.Address[:], groupMAC(group))
	return os.NewSyscallError("setsockopt", unix.SetsockoptPacketMreq(int(c.rawSocket), unix.SOL_PACKET, option, mreq))
}

func (c *packetConn) interrupt() {
	c.interrupted.Store(true)
	_, _ = unix.Write(c.stop, []byte{7: 1}) // the counter is 64 bits in any byte order; it stays set, for nobody reads it
}

func (c *packetConn) close() {
	c.rawSocket.close()
	_ = unix.Close(c.stop)
	c.mld.close()
}

// groupMAC returns the Ethernet address of an IPv6 multicast group (RFC 2464 section 7).
func groupMAC(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return net.HardwareAddr{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

// multicast holds group memberships of the IPv6 stack. One socket has room for a limited number of them
// (net.core.optmem_max), so it opens another when one is full. The sockets aren't bound: they receive nothing.
type multicast struct {
	index   int
	sockets []int
	member  map[netip.Addr]int // group -> socket
}

func (m *multicast) join(group netip.Addr) error {
	if n := len(m.sockets); n > 0 {
		err := m.change(m.sockets[n-1], unix.IPV6_JOIN_GROUP, group)
		if err != unix.ENOMEM && err != unix.ENOBUFS {
			return wrapGroup("join", group, err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return wrapGroup("join", group, err)
	}
	m.sockets = append(m.sockets, fd)
	return wrapGroup("join", group, m.change(fd, unix.IPV6_JOIN_GROUP, group))
}

func (m *multicast) leave(group netip.Addr) error {
	fd, ok := m.member[group]
	if !ok {
		return nil
	}
	return wrapGroup("leave", group, m.change(fd, unix.IPV6_LEAVE_GROUP, group))
}

func (m *multicast) change(fd, option int, group netip.Addr) error {
	mreq := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(m.index)}
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, option, mreq); err != nil {
		return err
	}
	if option == unix.IPV6_LEAVE_GROUP {
		delete(m.member, group)
		return nil
	}
	if m.member == nil {
		m.member = make(map[netip.Addr]int)
	}
	m.member[group] = fd
	return nil
}

func (m *multicast) close() {
	for _, fd := range m.sockets {
		_ = unix.Close(fd)
	}
	m.sockets, m.member = nil, nil
}

func wrapGroup(verb string, group netip.Addr, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s multicast group %s: %w", verb, group, err)
}
