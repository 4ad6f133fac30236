package responder

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/net/bpf"
)

// patienceWithMAC is how many questions in a row may go to the MAC that answered last. After that everyone is asked: the
// host may have another one now.
const patienceWithMAC = 2

const (
	// maxHosts is how many hosts are listened to: those that were asked last. More are never asked at one time.
	maxHosts = 32
	// maxCollected is how many frames of one host are read at a time. It has been asked a few times since.
	maxCollected = 64
)

// Caller asks hosts on one interface for their own address: by ARP requests and neighbour solicitations, which a host's
// kernel answers whatever its processes do. It is what arping and ndisc6 do, without waiting: answers stay in the sockets until
// they are collected, and wake nobody. Its methods may be called from any goroutine.
//
// Each host has a socket of its own, which holds nothing but what is said in its name. Anybody on the LAN can answer in the name
// of another, and so make it seem alive. But if all shared a socket, whoever fills it with answers of some hosts would make those
// of others be lost, and so a live one seem dead.
type Caller struct {
	ifi  Interface
	open questionOpener

	mu     sync.Mutex
	closed bool
	hosts  map[netip.Addr]*host
	asked  uint64        // questions
	frame  [readLen]byte // read last
	out    buffer        // sent last
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
	socket     questionSocket // nil until it is needed
	mac        [6]byte        // zero: unknown
	unanswered int            // questions since the last answer
	last       uint64         // number of the last question
}

// drop closes the socket; the next question opens another.
func (h *host) drop() {
	if h.socket != nil {
		h.socket.close()
		h.socket = nil
	}
}

// OpenCaller returns a Caller. It opens its sockets when they are needed.
func OpenCaller(ifi Interface) *Caller {
	return &Caller{ifi: ifi, open: openQuestionSocket, hosts: make(map[netip.Addr]*host)}
}

// Ask sends one question for addr from own, an address of the interface of the same family. It does not wait for the
// answer.
func (c *Caller) Ask(addr, own netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, err := c.listen(addr)
	if err != nil {
		return fmt.Errorf("ask for %s on %s: %w", addr, c.ifi.Name, err)
	}
	if h.unanswered >= patienceWithMAC {
		h.mac = [6]byte{}
	}
	h.unanswered++
	if err := h.socket.send(c.out[:layQuestion(&c.out, c.ifi.MAC, h.mac, addr, own)]); err != nil {
		h.drop()
		return fmt.Errorf("ask for %s on %s: %w", addr, c.ifi.Name, err)
	}
	return nil
}

// Collect calls answered for each answer that has come since the last call, with the host that it came from. answered must not call the
// Caller.
func (c *Caller) Collect(answered func(netip.Addr)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, h := range c.hosts {
		for range maxCollected {
			if h.socket == nil {
				break
			}
			n, err := h.socket.poll(c.frame[:])
			if err != nil {
				h.drop()
			}
			if n == 0 || err != nil {
				break
			}
			if from, mac, ok := readAnswer(etherTypeOf(addr), c.frame[:n], c.ifi.MAC); ok && from == addr {
				h.mac, h.unanswered = mac, 0
				answered(addr)
			}
		}
	}
}

// Close ends the Caller.
func (c *Caller) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, h := range c.hosts {
		h.drop()
	}
}

// listen returns the host that has addr with its socket open, and counts a question to it. The caller holds c.mu.
func (c *Caller) listen(addr netip.Addr) (*host, error) {
	if c.closed {
		return nil, errors.New("caller is closed")
	}
	h := c.hosts[addr]
	if h == nil {
		c.makeRoom()
		h = new(host)
		c.hosts[addr] = h
	}
	c.asked++
	h.last = c.asked
	if h.socket != nil {
		return h, nil
	}
	filter, err := assembleFilter(filterAnswers(addr))
	if err != nil {
		return nil, err
	}
	socket, err := c.open(c.ifi, etherTypeOf(addr), filter)
	if err != nil {
		return nil, err
	}
	h.socket = socket
	return h, nil
}

// makeRoom forgets the host that was asked longest ago, if there are too many. The caller holds c.mu.
func (c *Caller) makeRoom() {
	if len(c.hosts) < maxHosts {
		return
	}
	oldest := slices.MinFunc(slices.Collect(maps.Keys(c.hosts)), func(a, b netip.Addr) int {
		return cmp.Compare(c.hosts[a].last, c.hosts[b].last)
	})
	c.hosts[oldest].drop()
	delete(c.hosts, oldest)
}

// etherTypeOf returns that of the frames in which addr is asked for.
func etherTypeOf(addr netip.Addr) uint16 {
	if addr.Is6() {
		return etherTypeIPv6
	}
	return etherTypeARP
}

// filterAnswers passes what is said to this host in the name of the one that has addr: ARP replies or neighbour advertisements.
func filterAnswers(addr netip.Addr) []bpf.Instruction {
	p := newProgram()
	if addr.Is4() {
		p.toThisHost()
		p.load(offARPOperation, 2, opReply, drop)
		p.equals(offARPSenderIP, addr)
	} else {
		p.load(offIPNext, 1, protoICMP6, drop)
		p.load(offICMP, 1, typeNA, drop)
		p.toThisHost()
		p.load(offIPHops, 1, hopLimit, drop)
		p.equals(offICMPTarget, addr)
	}
	p.jump(accept)
	return p.assemble()
}

// equals requires an address at off.
func (p *program) equals(off int, addr netip.Addr) {
	for bytes := addr.AsSlice(); len(bytes) > 0; bytes = bytes[4:] {
		p.load(off, 4, binary.BigEndian.Uint32(bytes), drop)
		off += 4
	}
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
