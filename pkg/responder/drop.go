package responder

import "sync/atomic"

// Drop is the reason why a frame was not answered.
type Drop uint8

// The reasons, as they appear in metrics.
const (
	// Answered is the absence of a reason.
	Answered Drop = iota
	// DropShort: the frame ends before the message does.
	DropShort
	// DropEtherType: neither ARP nor IPv6, or a VLAN tag that the kernel left in place.
	DropEtherType
	// DropDestination: sent to someone else.
	DropDestination
	// DropMalformed: lengths, types or options that the protocol doesn't allow.
	DropMalformed
	// DropNotRequest: not an ARP request, not a neighbour solicitation, and nothing that a [Sighting] is made of.
	DropNotRequest
	// DropHopLimit: a solicitation that was forwarded by a router (RFC 4861 section 7.1.1).
	DropHopLimit
	// DropChecksum: the ICMPv6 checksum is wrong.
	DropChecksum
	// DropNotHeld: asks for an address that this node doesn't announce.
	DropNotHeld
	// DropTentative: asks for an address that this node watches only.
	DropTentative
	// DropSender: the sender's MAC can't be answered: multicast, zero, or this interface's own.
	DropSender
	// DropClaim: the sender says that the asked address is its own; this interface itself, say, whose announcement came
	// back. Of others that makes a [Sighting].
	DropClaim
	// DropStale: this process stood still, and has yet to hear whether the address is still its own.
	DropStale
	// DropSend: the answer could not be sent: a full queue, or the link went away.
	DropSend
	numDrops
)

var dropNames = [numDrops]string{
	"answered", "short", "ethertype", "destination", "malformed", "not_request", "hop_limit", "checksum", "not_held",
	"tentative", "sender", "claim", "stale", "send",
}

// String returns the reason as a metric label.
func (d Drop) String() string {
	if d >= numDrops {
		return "unknown"
	}
	return dropNames[d]
}

// Protocol tells the two protocols apart.
type Protocol uint8

// The protocols.
const (
	ARP Protocol = iota
	NDP
	numProtocols
)

// String returns arp or ndp.
func (p Protocol) String() string {
	if p == ARP {
		return "arp"
	}
	return "ndp"
}

// Stats counts what the responders of a node did. The zero value is ready; it may be shared between responders.
type Stats struct {
	// Reopened is the number of sockets that failed and were opened again.
	Reopened atomic.Uint64
	// Probes is the number of frames sent by [Responder.Probe].
	Probes atomic.Uint64

	drops     [numProtocols][numDrops]atomic.Uint64
	sightings [numProtocols]atomic.Uint64
}

// EachDrop calls f for each protocol and reason with the number of frames so far.
func (s *Stats) EachDrop(f func(Protocol, Drop, uint64)) {
	for p := range s.drops {
		for d := DropShort; d < numDrops; d++ {
			f(Protocol(p), d, s.drops[p][d].Load())
		}
	}
}

// Sightings returns the number of frames in which somebody else claimed or probed for an address.
func (s *Stats) Sightings(p Protocol) uint64 { return s.sightings[p].Load() }

// Drops returns the number of frames dropped for reason d.
func (s *Stats) Drops(p Protocol, d Drop) uint64 { return s.drops[p][d].Load() }
