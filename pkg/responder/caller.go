package responder

import (
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

// Caller asks hosts on one interface for their own address: by ARP requests and neighbour solicitations, which a host's
// kernel answers whatever its processes do. It is what arping and ndisc6 do, without waiting: answers stay in the sockets until
// they are collected, and wake nobody. Its methods may be called from any goroutine.
type Caller struct {
	ifi  Interface
	open questionOpener

	mu      sync.Mutex
	closed  bool
	sockets map[uint16]questionSocket // by EtherType, opened when first needed
	hosts   map[netip.Addr]*host
	frame   [readLen]byte
}

// questionSocket is a packet socket that never waits.
type questionSocket interface {
	send(frame []byte) error
	// poll returns the length of the next frame, 0 if there is none now.
	poll(b []byte) (int, error)
	close()
}

type questionOpener func(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (questionSocket, error)

// host is what is known of a host that was asked.
type host struct {
	mac        [6]byte // zero: unknown
	unanswered int     // questions since the last answer
}

// OpenCaller returns a Caller. It opens its sockets when they are needed.
func OpenCaller(ifi Interface) *Caller {
	return &Caller{
		ifi: ifi, open: openQuestionSocket,
		sockets: make(map[uint16]questionSocket), hosts: make(map[netip.Addr]*host),
	}
}

// Ask sends one question for addr from own, an address of the interface of the same family. It does not wait for the
// answer.
func (c *Caller) Ask(addr, own netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	etherType, socket, err := c.socket(addr.Is6())
	if err != nil {
		return fmt.Errorf("ask for %s on %s: %w", addr, c.ifi.Name, err)
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
	if err := socket.send(out[:layQuestion(&out, c.ifi.MAC, h.mac, addr, own)]); err != nil {
		c.drop(etherType)
		return fmt.Errorf("ask for %s on %s: %w", addr, c.ifi.Name, err)
	}
	return nil
}

// Collect returns the hosts that have answered since the last call.
func (c *Caller) Collect() (answered []netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for etherType, socket := range c.sockets {
		for {
			n, err := socket.poll(c.frame[:])
			if err != nil {
				c.drop(etherType) // the next question opens another
			}
			if n == 0 || err != nil {
				break
			}
			addr, mac, ok := readAnswer(etherType, c.frame[:n], c.ifi.MAC)
			if h := c.hosts[addr]; ok && h != nil {
				h.mac, h.unanswered = mac, 0
				answered = append(answered, addr)
			}
		}
	}
	return answered
}

// Close ends the Caller.
func (c *Caller) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for etherType := range c.sockets {
		c.drop(etherType)
	}
}

// socket returns the socket for a family, opening it if necessary. The caller holds c.mu.
func (c *Caller) socket(v6 bool) (etherType uint16, socket questionSocket, err error) {
	etherType, filter := uint16(etherTypeARP), filterARPAnswers
	if v6 {
		etherType, filter = etherTypeIPv6, filterNDPAnswers
	}
	if socket = c.sockets[etherType]; socket != nil {
		return etherType, socket, nil
	}
	if c.closed {
		return etherType, nil, errors.New("caller is closed")
	}
	raw, err := assembleFilter(filter())
	if err != nil {
		return etherType, nil, err
	}
	if socket, err = c.open(c.ifi, etherType, raw); err == nil {
		c.sockets[etherType] = socket
	}
	return etherType, socket, err
}

// drop closes a socket. The caller holds c.mu.
func (c *Caller) drop(etherType uint16) {
	c.sockets[etherType].close()
	delete(c.sockets, etherType)
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
