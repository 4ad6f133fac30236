package responder

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// packetConn is a conn over AF_PACKET. Its reader is a thread that blocks in read(2). With the runtime's poller another one would
// be woken first, which hands the frame over and doubles the time to answer on a machine whose processors are asleep.
type packetConn struct {
	rawSocket
	index int // of the interface
	mld   multicast
	own   *ownKernel // nil on a conn for ARP, and where IPv6 is off

	reader      atomic.Int32 // the thread that reads; 0: none yet
	interrupted atomic.Bool
	closed      chan struct{}
}

const (
	// readTimeout makes the kernel end a read when a signal comes, instead of going on with it (signal(7)); it is never of use
	// otherwise.
	readTimeout = 24 * time.Hour
	// signalAgain is the pause between two signals to a reader: one that comes right before its system call is lost.
	signalAgain = time.Millisecond
)

// openPacket is the opener of the kernel.
func openPacket(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (conn, error) {
	socket, err := openRaw(ifi, etherType, filter, blocking)
	if err != nil {
		return nil, err
	}
	timeout := unix.NsecToTimeval(int64(readTimeout))
	if err := unix.SetsockoptTimeval(int(socket), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("open packet socket: %w", os.NewSyscallError("setsockopt", err)), unix.Close(int(socket)))
	}
	c := &packetConn{rawSocket: socket, index: ifi.Index, mld: multicast{index: ifi.Index}, closed: make(chan struct{})}
	if etherType == etherTypeIPv6 {
		c.own, _ = openOwnKernel(ifi) // a kernel without IPv6 redirects nobody
	}
	return c, nil
}

// read keeps its goroutine on one thread until close.
func (c *packetConn) read(b []byte) (int, error) {
	if c.reader.Load() == 0 {
		runtime.LockOSThread()
		c.reader.Store(int32(unix.Gettid()))
	}
	for !c.interrupted.Load() {
		n, err := unix.Read(int(c.rawSocket), b)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR, unix.EAGAIN: // a signal, or the timeout
		default:
			return 0, os.NewSyscallError("read", err)
		}
	}
	return 0, os.ErrDeadlineExceeded
}

func (c *packetConn) answer(frame []byte) error { return c.send(frame) }

func (c *packetConn) tellKernel(frame []byte) error {
	if c.own == nil {
		return nil
	}
	return c.own.hear(frame)
}

// interrupt sends the reader SIGURG, which Go's runtime takes for a wish to let another goroutine run, until it has closed.
func (c *packetConn) interrupt() {
	if c.interrupted.Swap(true) {
		return
	}
	go func() {
		for {
			if tid := c.reader.Load(); tid != 0 {
				_ = unix.Tgkill(unix.Getpid(), int(tid), unix.SIGURG)
			}
			select {
			case <-c.closed:
				return
			case <-time.After(signalAgain):
			}
		}
	}()
}

// close is called by the goroutine that reads.
func (c *packetConn) close() {
	close(c.closed)
	c.rawSocket.close()
	c.mld.close()
	if c.own != nil {
		c.own.close()
	}
	if c.reader.Load() != 0 {
		runtime.UnlockOSThread()
	}
}

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
