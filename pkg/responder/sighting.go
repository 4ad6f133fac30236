package responder

import (
	"encoding/binary"
	"net/netip"
)

// Kind says what somebody else did about one of the addresses.
type Kind uint8

// The kinds of sightings.
const (
	// Claim: it said that it has the address: as the sender of an ARP packet, or in a neighbour advertisement.
	Claim Kind = iota
	// Probe: it asked whether anyone has the address, in order to take it (RFC 5227 section 2.1.1, RFC 4862 section 5.4.3).
	// Only for a tentative address; for a held one the answer settles it.
	Probe
)

// String returns claim or probe.
func (k Kind) String() string {
	if k == Claim {
		return "claim"
	}
	return "probe"
}

// Sighting says that somebody else has one of the addresses, or is about to.
type Sighting struct {
	// Addr is the address.
	Addr netip.Addr
	// MAC is who has it, as the message says. It is never the interface's own, nor zero or the broadcast address. It may be
	// a multicast address: some clusters have these.
	MAC [6]byte
	// Kind is what it did.
	Kind Kind
}

// sightARP returns what an ARP packet says about an address of s (RFC 5227 sections 2.1.1 and 2.4).
func sightARP(frame []byte, s *snapshot) (Sighting, bool) {
	if checkARP(frame, s.mac) != Answered {
		return Sighting{}, false
	}
	mac, sender := [6]byte(frame[offARPSenderMAC:]), [4]byte(frame[offARPSenderIP:])
	if sender != ([4]byte{}) {
		if _, ok := s.v4[sender]; !ok || !foreign(mac, s.mac) {
			return Sighting{}, false
		}
		return Sighting{netip.AddrFrom4(sender), mac, Claim}, true
	}
	target := [4]byte(frame[offARPTargetIP:])
	op := binary.BigEndian.Uint16(frame[offARPOperation:])
	if op != opRequest || !s.v4[target].Tentative || !foreign(mac, s.mac) {
		return Sighting{}, false
	}
	return Sighting{netip.AddrFrom4(target), mac, Probe}, true
}

// foreign reports whether mac can be that of somebody else.
func foreign(mac, own [6]byte) bool { return mac != [6]byte{} && mac != broadcast && mac != own }

// sightNDP returns what a neighbour advertisement, or a solicitation of duplicate address detection, says about an address
// of s.
func sightNDP(frame []byte, s *snapshot) (Sighting, bool) {
	message, drop := checkIPv6(frame, s.mac)
	if drop != Answered {
		return Sighting{}, false
	}
	target := [16]byte(frame[offICMPTarget:])
	from, to := [16]byte(frame[offIPFrom:]), [16]byte(frame[offIPTo:])
	entry, ok := s.v6[target]
	advertised := message[0] == typeNA
	if !ok || !advertised && !entry.Tentative || checksum(from, to, message) != 0 {
		return Sighting{}, false
	}
	kind, read := Probe, readDetection
	if advertised {
		kind, read = Claim, readClaim
	}
	mac, ok := read(frame, message, s.nonce)
	if !ok || !foreign(mac, s.mac) {
		return Sighting{}, false
	}
	return Sighting{netip.AddrFrom16(target), mac, kind}, true
}

// readClaim returns who has the target of an advertisement: the link-layer address in it, or without one whoever sent the
// frame. It reports false if the advertisement is not valid (RFC 4861 section 7.1.2).
func readClaim(frame, message []byte, _ [6]byte) (mac [6]byte, ok bool) {
	mac, ok = linkLayerOption(message[nsLen:], optionTargetMAC)
	if !ok || frame[offIPTo] == 0xff && frame[offICMPFlags]&flagSolicited != 0 {
		return mac, false
	}
	if mac == ([6]byte{}) {
		mac = [6]byte(frame[6:])
	}
	return mac, true
}

// readDetection returns who does duplicate address detection in a solicitation. It reports false if this is none (RFC 4862
// section 5.4.3), not valid (RFC 4861 section 7.1.1), or one of our own that came back (RFC 7527 section 4.2).
func readDetection(frame, message []byte, nonce [6]byte) (mac [6]byte, ok bool) {
	options := message[nsLen:]
	source, ok := linkLayerOption(options, optionSourceMAC)
	switch {
	case !ok, source != [6]byte{}:
		return mac, false
	case [16]byte(frame[offIPFrom:]) != [16]byte{}, [16]byte(frame[offIPTo:]) != solicitedNode([16]byte(frame[offICMPTarget:])):
		return mac, false
	}
	// A nonce of another length is somebody else's.
	if echo, ok := linkLayerOption(options, optionNonce); ok && echo == nonce {
		return mac, false
	}
	return [6]byte(frame[6:]), true
}
