package membership

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/invar-lb/invar/pkg/election"
)

// A message begins with a byte that says what it is.
const (
	// messageClaims: groups of claims of one node, each
	//
	//	uvarint length of the node's name, the name, uvarint number of claims, and for each claim
	//	one byte 4 or 16, that many bytes of address, uvarint sequence number.
	messageClaims = 1
	// messageReport: one report, as JSON.
	messageReport = 2
	// messageState: other messages, each after its length as uvarint.
	messageState = 3
	// messageHoldings: all that one node announces, as JSON.
	messageHoldings = 4
	// messageDigest: a digest, eight bytes in big endian, and the name of the node whose it is.
	messageDigest = 5
)

// maxMessage bounds a message that must fit in one datagram beside memberlist's own overhead (UDPBufferSize is 1400).
const maxMessage = 1200

var errTruncated = errors.New("message is truncated")

// encodeClaims returns the message that carries claims, which should be sorted so that claims of one node are neighbours.
func encodeClaims(claims []election.Claim) []byte {
	msg := []byte{messageClaims}
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
		out = append(out, encodeClaims(claims[:n]))
		claims = claims[n:]
	}
	return out
}

func encodeReport(r report) []byte { return encodeJSON(messageReport, r) }

func encodeHoldings(h *holdings) []byte { return encodeJSON(messageHoldings, h) }

func encodeDigest(d digest) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{messageDigest}, d.sum), d.node...)
}

func encodeJSON(kind byte, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("membership: a message is no JSON: " + err.Error())
	}
	return append([]byte{kind}, b...)
}

// encodeState returns the message that carries all that a node knows.
func encodeState(claims []election.Claim, reports []report) []byte {
	msgs := [][]byte{encodeClaims(claims)}
	for _, r := range reports {
		msgs = append(msgs, encodeReport(r))
	}
	state := []byte{messageState}
	for _, msg := range msgs {
		state = binary.AppendUvarint(state, uint64(len(msg)))
		state = append(state, msg...)
	}
	return state
}

// message is what a message says.
type message struct {
	claims   []election.Claim
	reports  []report
	holdings []holdings
	digest   digest // of no node: none
}

// digest stands for all that a node knows.
type digest struct {
	node string
	sum  uint64
}

// decode reads any message. Whatever it is given, it returns either what that says or an error, and never takes more
// memory than the message accounts for.
func decode(msg []byte) (m message, err error) {
	if len(msg) == 0 {
		return m, errTruncated
	}
	if msg[0] != messageState {
		return m, m.add(msg)
	}
	d := decoder{rest: msg[1:]}
	for len(d.rest) > 0 && d.err == nil {
		if part := d.bytes(d.uvarint()); d.err == nil {
			d.err = m.add(part)
		}
	}
	return m, d.err
}

// add reads a message that is no state. Of what a later version may have invented it takes nothing.
func (m *message) add(msg []byte) (err error) {
	if len(msg) == 0 {
		return errTruncated
	}
	switch msg[0] {
	case messageClaims:
		claims, err := decodeClaims(msg[1:])
		m.claims = append(m.claims, claims...)
		return err
	case messageReport:
		var r report
		if err := json.Unmarshal(msg[1:], &r); err != nil {
			return fmt.Errorf("read report: %w", err)
		}
		m.reports = append(m.reports, r)
	case messageHoldings:
		var h holdings
		if err := json.Unmarshal(msg[1:], &h); err != nil {
			return fmt.Errorf("read holdings: %w", err)
		}
		m.holdings = append(m.holdings, h)
	case messageDigest:
		d := decoder{rest: msg[1:]}
		if sum := d.bytes(8); d.err == nil {
			m.digest = digest{string(d.rest), binary.BigEndian.Uint64(sum)}
		}
		return d.err
	}
	return nil
}

func decodeClaims(msg []byte) ([]election.Claim, error) {
	d := decoder{rest: msg}
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
