package responder

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// sendPriority puts frames before bulk traffic in the interface's queue (TC_PRIO_INTERACTIVE), the highest priority that
// needs no CAP_NET_ADMIN.
const sendPriority = 6

// packetConn is a conn over AF_PACKET. It reads and writes through the raw file descriptor, since the net.PacketConn
// methods allocate an address for each frame.
type packetConn struct {
	*packet.Conn
	raw syscall.RawConn
	mld multicast
	in  transfer
	out transfer
}

// transfer is one read or write, kept so that the function given to the runtime's poller need not be allocated.
type transfer struct {
	buf []byte
	n   int
	err error
	run func(fd uintptr) bool
}

// openPacket is the opener of the kernel.
func openPacket(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (conn, error) {
	hw := &net.Interface{Index: ifi.Index, Name: ifi.Name, HardwareAddr: ifi.MAC[:]}
	p, err := packet.Listen(hw, packet.Raw, int(etherType), &packet.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	raw, err := p.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open packet socket: %w", err), p.Close())
	}
	c := &packetConn{Conn: p, raw: raw, mld: multicast{index: ifi.Index}}
	c.in.run, c.out.run = c.in.read, c.out.write
	// A queue that can't prioritise is no reason to fail.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, sendPriority)
	})
	return c, nil
}

func (t *transfer) read(fd uintptr) bool {
	for {
		t.n, t.err = unix.Read(int(fd), t.buf)
		if t.err != unix.EINTR {
			return t.err != unix.EAGAIN
		}
	}
}

// write is done after one attempt: a full queue is an error, not a reason to wait.
func (t *transfer) write(fd uintptr) bool {
	_, t.err = unix.Write(int(fd), t.buf)
	return true
}

func (c *packetConn) read(b []byte) (int, error) {
	c.in.buf = b
	if err := c.raw.Read(c.in.run); err != nil {
		return 0, err
	}
	if c.in.err != nil {
		return 0, os.NewSyscallError("read", c.in.err)
	}
	return c.in.n, nil
}

func (c *packetConn) answer(frame []byte) error {
	c.out.buf = frame
	if err := c.raw.Write(c.out.run); err != nil {
		return err
	}
	return os.NewSyscallError("write", c.out.err)
}

func (c *packetConn) send(frame []byte) error {
	t := transfer{buf: frame}
	if err := c.raw.Write(t.write); err != nil {
		return err
	}
	return os.NewSyscallError("write", t.err)
}

func (c *packetConn) setFilter(filter []bpf.RawInstruction) error { return c.SetBPF(filter) }

// join adds the group to the interface's receive filter and, through an ordinary IPv6 socket, makes the kernel report
// the membership by MLD, or a switch with MLD snooping would not forward solicitations. The latter fails where IPv6 is
// off for the interface, which must not keep the addresses from being answered.
func (c *packetConn) join(group netip.Addr) error {
	return errors.Join(c.JoinGroup(groupMAC(group)), c.mld.join(group))
}

func (c *packetConn) leave(group netip.Addr) error {
	return errors.Join(c.LeaveGroup(groupMAC(group)), c.mld.leave(group))
}

func (c *packetConn) interrupt() { _ = c.SetReadDeadline(longAgo) }

func (c *packetConn) close() {
	_ = c.Close()
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
