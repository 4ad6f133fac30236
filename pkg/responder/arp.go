package responder

import (
	"encoding/binary"
	"net/netip"
)

const (
	etherTypeARP  = 0x0806
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd

	ethernetLen = 14
	arpLen      = 28
	// minFrame is the shortest Ethernet frame without its checksum. Shorter ones are padded with zeros here, so that no
	// driver pads them with what is left in its memory.
	minFrame = 60
	// maxAnswer is the length of the longest frame that answers are made of: a neighbour advertisement.
	maxAnswer = ethernetLen + ipv6Len + naLen

	hardwareEthernet = 1
	opRequest        = 1
	opReply          = 2
)

var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// buffer is where an answer is laid out.
type buffer [maxAnswer]byte

// Offsets into an Ethernet frame with an ARP packet.
const (
	offARP          = ethernetLen
	offARPOperation = offARP + 6
	offARPSenderMAC = offARP + 8
	offARPSenderIP  = offARP + 14
	offARPTargetMAC = offARP + 18
	offARPTargetIP  = offARP + 24
)

// answerARP answers frame from s. It returns the length of the answer in out and the counter of the address asked for,
// which is nil if the frame is not a request for a held address.
func answerARP(frame []byte, s *snapshot, out *buffer) (int, *Counter, Drop) {
	if drop := checkARP(frame, s.mac); drop != Answered {
		return 0, nil, drop
	}
	if binary.BigEndian.Uint16(frame[offARPOperation:]) != opRequest {
		return 0, nil, DropNotRequest
	}
	target := [4]byte(frame[offARPTargetIP:])
	entry, ok := s.v4[target]
	sender, senderIP := [6]byte(frame[offARPSenderMAC:]), [4]byte(frame[offARPSenderIP:])
	switch {
	case !ok:
		return 0, nil, DropNotHeld
	case entry.Tentative:
		return 0, nil, DropTentative
	case !answerable(sender, s.mac):
		return 0, nil, DropSender
	case senderIP == target:
		return 0, nil, DropClaim
	}
	return layARP(out, opReply, sender, s.mac, target, sender, senderIP), entry.Counter, Answered
}

// checkARP reports what is wrong with a frame that should be an ARP packet to mac or to everyone.
func checkARP(frame []byte, mac [6]byte) Drop {
	if len(frame) < ethernetLen+arpLen {
		return DropShort
	}
	switch be := binary.BigEndian; {
	case be.Uint16(frame[12:]) != etherTypeARP:
		return DropEtherType
	case be.Uint16(frame[offARP:]) != hardwareEthernet, be.Uint16(frame[offARP+2:]) != etherTypeIPv4,
		frame[offARP+4] != 6, frame[offARP+5] != 4:
		return DropMalformed
	}
	if to := [6]byte(frame); to != broadcast && to != mac {
		return DropDestination
	}
	return Answered
}

// answerable reports whether an answer may go to mac: not to a group, which would let one frame cause many, not to
// nobody, and not to this interface itself.
func answerable(mac, own [6]byte) bool {
	return mac[0]&1 == 0 && mac != [6]byte{} && mac != own
}

// layARP writes a padded ARP frame and returns its length.
func layARP(out *buffer, op uint16, to, from [6]byte, fromIP [4]byte, target [6]byte, targetIP [4]byte) int {
	clear(out[:minFrame])
	layEthernet(out, to, from, etherTypeARP)
	be := binary.BigEndian
	be.PutUint16(out[offARP:], hardwareEthernet)
	be.PutUint16(out[offARP+2:], etherTypeIPv4)
	out[offARP+4], out[offARP+5] = 6, 4
	be.PutUint16(out[offARPOperation:], op)
	copy(out[offARPSenderMAC:], from[:])
	copy(out[offARPSenderIP:], fromIP[:])
	copy(out[offARPTargetMAC:], target[:])
	copy(out[offARPTargetIP:], targetIP[:])
	return minFrame
}

func layEthernet(out *buffer, to, from [6]byte, etherType uint16) {
	copy(out[0:], to[:])
	copy(out[6:], from[:])
	binary.BigEndian.PutUint16(out[12:], etherType)
}

// probeARP returns the frame that asks whether anyone has addr, without a word on who would like to (RFC 5227 section
// 2.1.1).
func probeARP(s *snapshot, addr netip.Addr) []byte {
	var out buffer
	return out[:layARP(&out, opRequest, broadcast, s.mac, [4]byte{}, [6]byte{}, addr.As4())]
}

// announceARP returns the frames by which everyone learns that addr is at mac: a request and a reply, since there are
// hosts that heed only the one or the other. The target MAC means nothing there; it is the broadcast address as MetalLB
// has sent it for years.
func announceARP(mac [6]byte, addr netip.Addr) [][]byte {
	var frames [][]byte
	for _, op := range []uint16{opRequest, opReply} {
		var out buffer
		n := layARP(&out, op, broadcast, mac, addr.As4(), broadcast, addr.As4())
		frames = append(frames, out[:n])
	}
	return frames
}
