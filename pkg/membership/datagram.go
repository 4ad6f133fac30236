package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// datagrams is a UDP socket whose system calls the runtime's scheduler does not hear of, since they never wait: that is left to its
// poller. Telling it, when the process was asleep, wakes a thread (sysmon) that then looks several times after a call that took a
// microsecond; for a speaker at rest, which does little else, that is a tenth of all work.
type datagrams struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	is4  bool
}

func newDatagrams(conn *net.UDPConn) (*datagrams, error) {
	raw, err := conn.SyscallConn()
	return &datagrams{conn: conn, raw: raw, is4: conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Is4()}, err
}

// read waits for a packet and returns its length and where it came from. After close it returns [net.ErrClosed].
func (d *datagrams) read(b []byte) (n int, from netip.AddrPort, err error) {
	var sa unix.RawSockaddrInet6 // the longer one of the two
	waitErr := d.raw.Read(func(fd uintptr) (done bool) {
		size := uint32(unix.SizeofSockaddrInet6)
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)))
		n, err = int(r), outcome("recvfrom", errno)
		return !again(errno)
	})
	if err := errors.Join(waitErr, err); err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, addrPortOf(&sa), nil
}

// write sends a packet, and waits if the socket's queue is full.
func (d *datagrams) write(b []byte, to netip.AddrPort) (err error) {
	if to.Addr().Is4() != d.is4 || !to.IsValid() {
		return fmt.Errorf("send packet to %s from %s: these are of two families", to, d.conn.LocalAddr())
	}
	sa, size := sockaddrOf(to)
	waitErr := d.raw.Write(func(fd uintptr) (done bool) {
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&sa)), size)
		err = outcome("sendto", errno)
		return !again(errno)
	})
	return errors.Join(waitErr, err)
}

func (d *datagrams) close() error { return d.conn.Close() }

// again reports whether a call is to be repeated when the socket is ready.
func again(errno syscall.Errno) bool { return errno == unix.EAGAIN || errno == unix.EINTR }

func outcome(call string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError(call, errno)
}

// addrPortOf reads a socket's address of either family (ip(7), ipv6(7)).
func addrPortOf(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := swapped(sa.Port)
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa4.Addr), port)
	}
	addr := netip.AddrFrom16(sa.Addr)
	if sa.Scope_id != 0 {
		addr = addr.WithZone(strconv.Itoa(int(sa.Scope_id)))
	}
	return netip.AddrPortFrom(addr, port)
}

// sockaddrOf is the way back. It returns the length of what it has laid out as well.
func sockaddrOf(a netip.AddrPort) (sa unix.RawSockaddrInet6, size uintptr) {
	sa.Port = swapped(a.Port())
	if a.Addr().Is4() {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&sa))
		sa4.Family, sa4.Addr = unix.AF_INET, a.Addr().As4()
		return sa, unix.SizeofSockaddrInet4
	}
	sa.Family, sa.Addr, sa.Scope_id = unix.AF_INET6, a.Addr().As16(), scopeOf(a.Addr().Zone())
	return sa, unix.SizeofSockaddrInet6
}

// scopeOf returns the index of the interface that a zone names, 0 if there is none.
func scopeOf(zone string) uint32 {
	if index, err := strconv.Atoi(zone); err == nil {
		return uint32(index)
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	return 0
}

// swapped turns a port from the machine's order into the network's and back.
func swapped(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}
