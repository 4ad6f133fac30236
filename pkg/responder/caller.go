package responder

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/net/bpf"
)

// patienceWithMAC is how many questions in a row may go to the MAC that answered last. After that everyone is asked: the
// host may have another one now.
const patienceWithMAC = 2

// CallerConfig configures a [Caller].
type CallerConfig struct {
	// Interface is where to ask.
	Interface Interface
	// OnAnswer is called for each answer by the goroutine that reads, and must not wait.
	OnAnswer func(addr netip.Addr)

	open opener // nil but in tests
}

// Caller asks hosts on one interface for their own address: by ARP requests and neighbour solicitations, which a host's
// kernel answers whatever its processes do. It is what arping and ndisc6 do, without waiting.
type Caller struct {
	cfg CallerConfig
	ctx context.Context
	end context.CancelFunc

	mu    sync.Mutex
	conns map[uint16]conn // by EtherType, opened when first needed
	hosts map[netip.Addr]*host
	done  sync.WaitGroup
}

// host is what is known of a host that was asked.
type host struct {
	mac        [6]byte // zero: unknown
	unanswered int     // questions since the last answer
}

// OpenCaller returns a Caller. It opens its sockets when they are needed.
func OpenCaller(cfg CallerConfig) *Caller {
	if cfg.open == nil {
		cfg.open = openPacket
	}
	c := &Caller{cfg: cfg, conns: make(map[uint16]conn), hosts: make(map[netip.Addr]*host)}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// Ask sends one question for addr from own, an address of the interface of the same family. It does not wait for the
// answer.
func (c *Caller) Ask(addr, own netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn, err := c.connect(addr.Is6())
	if err != nil {
		return fmt.Errorf("ask for %s on %s: %w", addr, c.cfg.Interface.Name, err)
	}
	h := c.hosts[addr]
	if h == nil {
		h = new(host)
		c.hosts[addr] = h
	}
	if h.unanswered >= patienceWithMAC {
		h.mac = [6]byte{}
	}
	h.unanswered++
	var out buffer
	if err := conn.send(out[:layQuestion(&out, c.cfg.Interface.MAC, h.mac, addr, own)]); err != nil {
		return fmt.Errorf("ask for %s on %s: %w", addr, c.cfg.Interface.Name, err)
	}
	return nil
}

// Forget drops what is known about hosts that keep does not name.
func (c *Caller) Forget(keep func(netip.Addr) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr := range c.hosts {
		if !keep(addr) {
			delete(c.hosts, addr)
		}
	}
}

// Close ends the Caller. When it returns, OnAnswer is not called any more.
func (c *Caller) Close() {
	c.end()
	c.mu.Lock()
	for _, conn := range c.conns {
		conn.interrupt()
	}
	c.mu.Unlock()
	c.done.Wait()
}

// connect returns the socket for a family, opening it if necessary. The caller holds c.mu.
func (c *Caller) connect(v6 bool) (conn, error) {
	etherType, filter := uint16(etherTypeARP), filterARPAnswers()
	if v6 {
		etherType, filter = etherTypeIPv6, filterNDPAnswers()
	}
	if conn := c.conns[etherType]; conn != nil {
		return conn, nil
	}
	if c.ctx.Err() != nil {
		return nil, errors.New("caller is closed")
	}
	raw, err := assembleFilter(filter)
	if err != nil {
		return nil, err
	}
	conn, err := c.cfg.open(c.cfg.Interface, etherType, raw)
	if err != nil {
		return nil, err
	}
	c.conns[etherType] = conn
	c.done.Go(func() { c.read(etherType, conn) })
	return conn, nil
}

// read hands over answers until reading fails; the next question opens another socket.
func (c *Caller) read(etherType uint16, conn conn) {
	frame := make([]byte, readLen)
	for {
		n, err := conn.read(frame)
		if err != nil {
			break
		}
		from, mac, ok := readAnswer(etherType, frame[:n], c.cfg.Interface.MAC)
		if ok && c.note(from, mac) {
			c.cfg.OnAnswer(from)
		}
	}
	c.mu.Lock()
	delete(c.conns, etherType)
	c.mu.Unlock()
	conn.close()
}

// note takes an answer in and reports whether addr was asked for.
func (c *Caller) note(addr netip.Addr, mac [6]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[addr]
	if h == nil {
		return false
	}
	h.mac, h.unanswered = mac, 0
	return true
}

// filterARPAnswers passes ARP replies to this host.
func filterARPAnswers() []bpf.Instruction {
	p := newProgram()
	p.toThisHost()
	p.load(offARPOperation, 2, opReply, drop)
	p.jump(accept)
	return p.assemble()
}

// filterNDPAnswers passes neighbour advertisements to this host.
func filterNDPAnswers() []bpf.Instruction {
	p := newProgram()
	p.load(offIPNext, 1, protoICMP6, drop)
	p.load(offICMP, 1, typeNA, drop)
	p.toThisHost()
	p.load(offIPHops, 1, hopLimit, drop)
	p.jump(accept)
	return p.assemble()
}

// packetHost is the kernel's PACKET_HOST: sent to the interface's own MAC.
const packetHost = 0

func (p *program) toThisHost() {
	p.emit(bpf.LoadExtension{Num: bpf.ExtType})
	p.require(bpf.JumpEqual, packetHost, drop)
}

// layQuestion writes a request for addr to the host with that MAC, or to all if it is zero, and returns its length.
func layQuestion(out *buffer, own, mac [6]byte, addr, ownAddr netip.Addr) int {
	if addr.Is4() {
		if mac == ([6]byte{}) {
			return layARP(out, opRequest, broadcast, own, ownAddr.As4(), mac, addr.As4())
		}
		return layARP(out, opRequest, mac, own, ownAddr.As4(), mac, addr.As4())
	}
	to := addr.As16()
	if mac == ([6]byte{}) {
		to = solicitedNode(addr.As16())
		mac = [6]byte(groupMAC(netip.AddrFrom16(to)))
	}
	return layNS(out, mac, own, ownAddr.As16(), to, addr.As16())
}

// readAnswer returns who says in frame that he has which address; ok is false for anything but a right answer to us.
func readAnswer(etherType uint16, frame []byte, own [6]byte) (addr netip.Addr, mac [6]byte, ok bool) {
	if etherType == etherTypeARP {
		return readReply(frame, own)
	}
	return readAdvertisement(frame, own)
}

// readReply reads an ARP reply to own (RFC 826).
func readReply(frame []byte, own [6]byte) (addr netip.Addr, mac [6]byte, ok bool) {
	be := binary.BigEndian
	if len(frame) < ethernetLen+arpLen || [6]byte(frame) != own || be.Uint16(frame[12:]) != etherTypeARP ||
		be.Uint16(frame[offARP:]) != hardwareEthernet || be.Uint16(frame[offARP+2:]) != etherTypeIPv4 ||
		be.Uint16(frame[offARPOperation:]) != opReply {
		return addr, mac, false
	}
	mac = [6]byte(frame[offARPSenderMAC:])
	return netip.AddrFrom4([4]byte(frame[offARPSenderIP:])), mac, answerable(mac, own)
}

// readAdvertisement reads a neighbour advertisement to own (RFC 4861 section 7.1.2). The MAC is that of the frame, which is
// where to ask again.
func readAdvertisement(frame []byte, own [6]byte) (addr netip.Addr, mac [6]byte, ok bool) {
	if len(frame) < offICMP+nsLen || [6]byte(frame) != own || binary.BigEndian.Uint16(frame[12:]) != etherTypeIPv6 ||
		frame[offIPNext] != protoICMP6 || frame[offIPHops] != hopLimit || frame[offICMP] != typeNA {
		return addr, mac, false
	}
	end := offICMP + int(binary.BigEndian.Uint16(frame[offIPLength:]))
	if end > len(frame) || end < offICMP+nsLen ||
		checksum([16]byte(frame[offIPFrom:]), [16]byte(frame[offIPTo:]), frame[offICMP:end]) != 0 {
		return addr, mac, false
	}
	mac = [6]byte(frame[6:])
	return netip.AddrFrom16([16]byte(frame[offICMPTarget:])), mac, answerable(mac, own)
}

// layNS writes a neighbour solicitation of target with its source link-layer option (RFC 4861 section 4.3) and returns
// its length.
func layNS(out *buffer, toMAC, mac [6]byte, from, to, target [16]byte) int {
	layNA(out, toMAC, mac, to, target, 0)
	copy(out[offIPFrom:], from[:])
	out[offICMP], out[offICMPOption] = typeNS, optionSourceMAC
	out[offICMPSum], out[offICMPSum+1] = 0, 0
	binary.BigEndian.PutUint16(out[offICMPSum:], checksum(from, to, out[offICMP:]))
	return maxAnswer
}
