package membership

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/invar-lb/invar/pkg/election"
)

// The claims message: a version byte, then groups of claims of one node:
//
//	uvarint length of the node's name, the name, uvarint number of claims, and for each claim
//	one byte 4 or 16, that many bytes of address, uvarint sequence number.
const claimsVersion = 1

// maxMessage bounds a message that must fit in one datagram beside memberlist's own overhead (UDPBufferSize is 1400).
const maxMessage = 1200

var errTruncated = errors.New("message is truncated")

// encode appends the message that carries claims, which should be sorted so that claims of one node are neighbours.
func encode(claims []election.Claim) []byte {
	msg := []byte{claimsVersion}
	for len(claims) > 0 {
		n := 1
		for n < len(claims) && claims[n].Node == claims[0].Node {
			n++
		}
		msg = appendGroup(msg, claims[:n])
		claims = claims[n:]
	}
	return msg
}

func appendGroup(msg []byte, claims []election.Claim) []byte {
	msg = binary.AppendUvarint(msg, uint64(len(claims[0].Node)))
	msg = append(msg, claims[0].Node...)
	msg = binary.AppendUvarint(msg, uint64(len(claims)))
	for _, c := range claims {
		b := c.Addr.AsSlice()
		msg = append(msg, byte(len(b)))
		msg = append(msg, b...)
		msg = binary.AppendUvarint(msg, c.Seq)
	}
	return msg
}

// encodeDatagrams splits the claims of one node over as many messages as it takes for each to fit in a datagram.
func encodeDatagrams(claims []election.Claim) [][]byte {
	const perClaim = 1 + 16 + binary.MaxVarintLen64
	var out [][]byte
	for len(claims) > 0 {
		n := min(len(claims), max(1, (maxMessage-len(claims[0].Node))/perClaim))
		out = append(out, encode(claims[:n]))
		claims = claims[n:]
	}
	return out
}

// decode reads a message made by encode. Whatever it is given, it returns either claims or an error, and never takes
// more memory than the message accounts for.
func decode(msg []byte) ([]election.Claim, error) {
	if len(msg) == 0 {
		return nil, errTruncated
	}
	if msg[0] != claimsVersion {
		return nil, fmt.Errorf("claims message has version %d, want %d", msg[0], claimsVersion)
	}
	d := decoder{rest: msg[1:]}
	var claims []election.Claim
	for len(d.rest) > 0 && d.err == nil {
		node := string(d.bytes(d.uvarint()))
		for n := d.uvarint(); n > 0 && d.err == nil; n-- {
			claims = append(claims, election.Claim{Addr: d.addr(), Node: node, Seq: d.uvarint()})
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	return claims, nil
}

// decoder takes values off the front of rest; after the first error it only returns zero values.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errTruncated)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail(errTruncated)
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) addr() netip.Addr {
	size := d.bytes(1)
	if d.err != nil {
		return netip.Addr{}
	}
	a, ok := netip.AddrFromSlice(d.bytes(uint64(size[0])))
	if !ok {
		d.fail(fmt.Errorf("address has %d bytes, want 4 or 16", size[0]))
	}
	return a
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}
