package responder

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipv6Len    = 40
	protoICMP6 = 58
	hopLimit   = 255

	typeNS = 135
	typeNA = 136
	// nsLen is the length of a solicitation without options, naLen that of an advertisement with its one option.
	nsLen = 24
	naLen = 24 + 8

	optionSourceMAC = 1
	optionTargetMAC = 2
	optionNonce     = 14 // RFC 3971 section 5.3.2

	flagSolicited = 0x40
	flagOverride  = 0x20
)

// Offsets into an Ethernet frame with an IPv6 packet with an ICMPv6 neighbour message.
const (
	offIP         = ethernetLen
	offIPLength   = offIP + 4
	offIPNext     = offIP + 6
	offIPHops     = offIP + 7
	offIPFrom     = offIP + 8
	offIPTo       = offIP + 24
	offICMP       = offIP + ipv6Len
	offICMPSum    = offICMP + 2
	offICMPFlags  = offICMP + 4
	offICMPTarget = offICMP + 8
	offICMPOption = offICMP + 24
)

var (
	allNodes    = [16]byte{0xff, 0x02, 15: 0x01}
	allNodesMAC = [6]byte{0x33, 0x33, 5: 0x01}
)

// answerNDP answers frame from s. It returns the length of the answer in out and the counter of the address asked for,
// which is nil if the frame is not a solicitation for a held address.
func answerNDP(frame []byte, s *snapshot, out *buffer) (int, *Counter, Drop) {
	message, drop := checkIPv6(frame, s.mac)
	if drop != Answered {
		return 0, nil, drop
	}
	if message[0] != typeNS {
		return 0, nil, DropNotRequest
	}
	target := [16]byte(frame[offICMPTarget:])
	entry, held := s.v6[target]
	switch {
	case !held:
		return 0, nil, DropNotHeld
	case entry.Tentative:
		return 0, nil, DropTentative
	}
	mac, drop := readSolicitation(frame, message, target)
	if drop != Answered {
		return 0, nil, drop
	}
	from := [16]byte(frame[offIPFrom:])
	if from == ([16]byte{}) {
		return layNA(out, allNodesMAC, s.mac, allNodes, target, flagOverride), entry.Counter, Answered
	}
	// Without the option the sender is whoever sent the frame: a neighbour that knows our MAC need not tell its own.
	if mac == ([6]byte{}) {
		mac = [6]byte(frame[6:])
	}
	if !answerable(mac, s.mac) {
		return 0, nil, DropSender
	}
	return layNA(out, mac, s.mac, from, target, flagSolicited|flagOverride), entry.Counter, Answered
}

// readSolicitation returns the MAC that the sender of a solicitation for target tells, zero if it tells none, or what is
// wrong with it (RFC 4861 section 7.1.1).
func readSolicitation(frame, message []byte, target [16]byte) (mac [6]byte, drop Drop) {
	from, to := [16]byte(frame[offIPFrom:]), [16]byte(frame[offIPTo:])
	mac, ok := linkLayerOption(message[nsLen:], optionSourceMAC)
	switch group := solicitedNode(target); {
	case !ok:
		return mac, DropMalformed
	case to != target && to != group:
		return mac, DropDestination
	case checksum(from, to, message) != 0:
		return mac, DropChecksum
	case from == target:
		return mac, DropClaim
	case from == [16]byte{} && (to != group || mac != [6]byte{}), from[0] == 0xff:
		return mac, DropMalformed
	}
	return mac, Answered
}

// checkIPv6 reports what is wrong with a frame that should be a neighbour solicitation or advertisement, and returns its
// ICMPv6 message. Those with IPv6 extension headers don't occur outside attacks, and fragmented ones are forbidden (RFC
// 6980).
func checkIPv6(frame []byte, mac [6]byte) ([]byte, Drop) {
	if len(frame) < ethernetLen+ipv6Len+nsLen {
		return nil, DropShort
	}
	be := binary.BigEndian
	end := offICMP + int(be.Uint16(frame[offIPLength:]))
	switch {
	case be.Uint16(frame[12:]) != etherTypeIPv6:
		return nil, DropEtherType
	case frame[offIP]>>4 != 6:
		return nil, DropMalformed
	case frame[offIPNext] != protoICMP6, frame[offICMP] != typeNS && frame[offICMP] != typeNA:
		return nil, DropNotRequest
	case frame[offIPHops] != hopLimit:
		return nil, DropHopLimit
	case end < offICMP+nsLen, frame[offICMP+1] != 0:
		return nil, DropMalformed
	case end > len(frame):
		return nil, DropShort
	}
	if to := [6]byte(frame); to != mac && (to[0] != 0x33 || to[1] != 0x33) {
		return nil, DropDestination
	}
	return frame[offICMP:end], Answered
}

// linkLayerOption returns the content of the option of a kind that holds six bytes, zero if there is none. It reports false
// for options that are malformed (RFC 4861 sections 7.1.1 and 7.1.2: all have a length above zero).
func linkLayerOption(options []byte, kind byte) (content [6]byte, ok bool) {
	for len(options) > 0 {
		if len(options) < 2 || options[1] == 0 || int(options[1])*8 > len(options) {
			return content, false
		}
		n := int(options[1]) * 8
		if options[0] == kind {
			if n != 8 {
				return content, false
			}
			content = [6]byte(options[2:])
		}
		options = options[n:]
	}
	return content, true
}

// layNA writes a neighbour advertisement of target with its target link-layer option (RFC 4861 section 4.4) and returns
// its length. It is sent from target itself.
func layNA(out *buffer, toMAC, mac [6]byte, to, target [16]byte, flags byte) int {
	clear(out[:])
	layEthernet(out, toMAC, mac, etherTypeIPv6)
	out[offIP] = 6 << 4
	binary.BigEndian.PutUint16(out[offIPLength:], naLen)
	out[offIPNext], out[offIPHops] = protoICMP6, hopLimit
	copy(out[offIPFrom:], target[:])
	copy(out[offIPTo:], to[:])
	out[offICMP], out[offICMPFlags] = typeNA, flags
	copy(out[offICMPTarget:], target[:])
	out[offICMPOption], out[offICMPOption+1] = optionTargetMAC, 1
	copy(out[offICMPOption+2:], mac[:])
	binary.BigEndian.PutUint16(out[offICMPSum:], checksum(target, to, out[offICMP:]))
	return maxAnswer
}

// checksum returns the ICMPv6 checksum of message with its pseudo-header (RFC 8200 section 8.1): the value to fill in if
// the field is zero, and zero if the field is right.
func checksum(from, to [16]byte, message []byte) uint16 {
	sum := uint64(len(message)) + protoICMP6
	sum = addWords(addWords(sum, from[:]), to[:])
	sum = addWords(sum, message)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// addWords adds the 16-bit words of b to sum, the last byte filled up with zero.
func addWords(sum uint64, b []byte) uint64 {
	for ; len(b) >= 4; b = b[4:] {
		// 2^16 is 1 in ones' complement, so that 32 bits may be added as well as twice 16.
		sum += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// probeNDP returns the solicitation of duplicate address detection for addr (RFC 4862 section 5.4.2), with a nonce by
// which a copy that the network sends back is known (RFC 7527).
func probeNDP(s *snapshot, addr netip.Addr) []byte {
	target := addr.As16()
	to := solicitedNode(target)
	var out buffer
	n := layNS(&out, [6]byte(groupMAC(netip.AddrFrom16(to))), s.mac, [16]byte{}, to, target)
	out[offICMPOption] = optionNonce
	copy(out[offICMPOption+2:], s.nonce[:])
	out[offICMPSum], out[offICMPSum+1] = 0, 0
	binary.BigEndian.PutUint16(out[offICMPSum:], checksum([16]byte{}, to, out[offICMP:]))
	return out[:n]
}

// announceNDP returns the unsolicited advertisement by which all nodes learn that addr is at mac (RFC 4861 section
// 7.2.6).
func announceNDP(mac [6]byte, addr netip.Addr) [][]byte {
	var out buffer
	n := layNA(&out, allNodesMAC, mac, allNodes, addr.As16(), flagOverride)
	return [][]byte{out[:n]}
}
