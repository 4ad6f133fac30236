package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// MAC is a hardware address, comparable.
type MAC [6]byte

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// Frame is an ARP or NDP frame that a host has sent: a question (an ARP request, a neighbour solicitation) or an answer (a
// reply, an advertisement).
type Frame struct {
	At       time.Time // when the switch's kernel received it, with a monotonic reading
	Port     string    // the host behind the switch's port at which it came in
	To       MAC
	Question bool
	Sender   netip.Addr // who speaks; for an advertisement the address that is told of
	MAC      MAC        // the sender's, as the payload has it; zero if it has none
	Target   netip.Addr // which address is asked for, or told of
}

// Recorder keeps every ARP and NDP frame that enters the lab's switch, until it is stopped.
type Recorder struct {
	file  *os.File
	ports map[int]string // hosts, by index of their port
	ended chan struct{}
	last  time.Time // when the frame came that was read last; read's own

	mu     sync.Mutex
	frames []Frame
	err    error
	closed bool
}

// Record starts a Recorder.
func (c *Cluster) Record() (*Recorder, error) {
	r := &Recorder{ports: map[int]string{}, ended: make(chan struct{})}
	if err := c.inSwitch(r.open); err != nil {
		return nil, fmt.Errorf("open packet socket on the switch: %w", err)
	}
	go r.read()
	return r, nil
}

// inSwitch runs f on a thread inside the switch's network.
func (c *Cluster) inSwitch(f func() error) error { return inNetwork("/run/netns/"+c.Name+"-switch", f) }

// portPrefix begins the name of a host's port on the switch.
const portPrefix = "p-"

func (r *Recorder) open() error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		if host, ok := strings.CutPrefix(l.Name, portPrefix); ok {
			r.ports[l.Index] = host
		}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	r.file = os.NewFile(uintptr(fd), "recorder")
	// The socket takes all protocols: a bridge takes frames away before sockets for one protocol see them.
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	err = errors.Join(
		stamped(fd), filter(fd),
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all})),
	)
	if err != nil {
		return errors.Join(err, r.file.Close())
	}
	return nil
}

// Offsets into an Ethernet frame without a VLAN tag.
const (
	offType     = 12
	offNext     = 14 + 6  // of an IPv6 header
	offICMPType = 14 + 40 // behind an IPv6 header without extensions
	icmp6       = 58
)

// filter has the kernel pass ARP frames, neighbour solicitations and advertisements, and nothing else.
func filter(fd int) error {
	code, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: offType, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_ARP, SkipTrue: 6},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IPV6, SkipTrue: 6},
		bpf.LoadAbsolute{Off: offNext, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmp6, SkipTrue: 4},
		bpf.LoadAbsolute{Off: offICMPType, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(ipv6.ICMPTypeNeighborSolicitation), SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(ipv6.ICMPTypeNeighborAdvertisement), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return err
	}
	prog := make([]unix.SockFilter, len(code))
	for i, ins := range code {
		prog[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}))
}

// read keeps what comes until the socket is closed or fails.
func (r *Recorder) read() {
	defer close(r.ended)
	raw, err := r.file.SyscallConn()
	for buf, oob := make([]byte, 2048), make([]byte, 128); err == nil; {
		var n, oobn int
		var from unix.Sockaddr
		if n, oobn, from, err = receive(raw, buf, oob); err == nil {
			err = r.note(buf[:n], oob[:oobn], from)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.err = fmt.Errorf("read frames: %w", err)
	}
}

func (r *Recorder) note(data, control []byte, from unix.Sockaddr) error {
	link, ok := from.(*unix.SockaddrLinklayer)
	if !ok {
		return fmt.Errorf("a frame came from %T", from)
	}
	port, ok := r.ports[link.Ifindex]
	if !ok {
		return nil // the bridge itself, which has seen it at a port
	}
	stamp, err := received(control)
	if err != nil {
		return err
	}
	f, ok := parseFrame(data)
	if !ok {
		return nil // anybody may send anything
	}
	f.At, f.Port = dated(stamp, time.Now(), r.last), port
	r.last = f.At
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, f)
	return nil
}

// dated returns when a frame came by the monotonic clock that is read now. The stamp is of the wall clock, which may be set, so its age
// counts. That is wrong if the clock was set in the meantime; but frames are read in the order in which they come.
func dated(stamp, now, last time.Time) time.Time {
	at := now.Add(-max(0, now.Round(0).Sub(stamp)))
	if at.Before(last) {
		return last
	}
	return at
}

// parseFrame reads an ARP frame, a neighbour solicitation or a neighbour advertisement.
func parseFrame(data []byte) (f Frame, ok bool) {
	var e ethernet.Frame
	if e.UnmarshalBinary(data) != nil {
		return f, false
	}
	f.To = MAC(e.Destination)
	if e.EtherType == ethernet.EtherTypeARP {
		return f, f.parseARP(e.Payload)
	}
	return f, e.EtherType == ethernet.EtherTypeIPv6 && f.parseNDP(data)
}

func (f *Frame) parseARP(payload []byte) bool {
	var p arp.Packet
	if p.UnmarshalBinary(payload) != nil || len(p.SenderHardwareAddr) != len(f.MAC) {
		return false
	}
	f.Question, f.Sender, f.MAC, f.Target = p.Operation == arp.OperationRequest, p.SenderIP, MAC(p.SenderHardwareAddr), p.TargetIP
	return true
}

func (f *Frame) parseNDP(data []byte) bool {
	if len(data) < offICMPType || data[offNext] != icmp6 {
		return false
	}
	m, err := ndp.ParseMessage(data[offICMPType:])
	if err != nil {
		return false
	}
	switch m := m.(type) {
	case *ndp.NeighborSolicitation:
		f.Question, f.Sender, f.Target = true, netip.AddrFrom16([16]byte(data[14+8:])), m.TargetAddress
		f.MAC = linkLayer(m.Options)
	case *ndp.NeighborAdvertisement:
		f.Sender, f.Target, f.MAC = m.TargetAddress, m.TargetAddress, linkLayer(m.Options)
	default:
		return false
	}
	return true
}

func linkLayer(options []ndp.Option) (mac MAC) {
	for _, o := range options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok && len(l.Addr) == len(mac) {
			mac = MAC(l.Addr)
		}
	}
	return mac
}

// Stop ends the recording and returns the frames in the order of their times. It is an error if some were lost.
func (r *Recorder) Stop() ([]Frame, error) {
	lost, err := r.lost()
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	err = errors.Join(err, r.file.Close())
	<-r.ended
	slices.SortStableFunc(r.frames, func(a, b Frame) int { return a.At.Compare(b.At) })
	if lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d frames did not fit into the buffer", lost))
	}
	return r.frames, errors.Join(err, r.err)
}

// lost returns how many frames the kernel had no room for.
func (r *Recorder) lost() (n uint32, err error) {
	raw, err := r.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var stats *unix.TpacketStats
		if stats, failed = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); failed == nil {
			n = stats.Drops
		}
	})
	return n, errors.Join(err, os.NewSyscallError("getsockopt", failed))
}
