package responder

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzEthernet gives a frame to everything that reads frames: both protocols of a Responder, whatever the EtherType
// says, and a Caller. What comes out is at most one frame, to one host or to a group, from this interface.
func FuzzEthernet(f *testing.F) {
	tag := func(frame []byte, tag ...byte) []byte { return slices.Concat(frame[:12], tag, frame[12:]) }
	arp, ndp := request().bytes(f), solicitation().bytes(f)
	seeds := [][]byte{
		arp, ndp, claim4().bytes(f), claim6().bytes(f), probe4(watched4).bytes(f), probe6(watched6, ownNonce).bytes(f),
		answer4().bytes(f), answer6().bytes(f),
		tag(arp, 0x81, 0, 0, 5), tag(ndp, 0x81, 0, 0xe0, 0), tag(tag(arp, 0x81, 0, 0, 5), 0x88, 0xa8, 0, 6),
		tag(arp, 0, 36, 0xaa, 0xaa, 3, 0, 0, 0), // 802.3 with LLC and SNAP
		append(slices.Clone(arp), make([]byte, 1900)...), append(slices.Clone(ndp), bytes.Repeat([]byte{0xff}, 1900)...),
		arp[:14], ndp[:14], arp[:13],
		{},
		bytes.Repeat([]byte{0xff}, 60),
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		frame = frame[:min(len(frame), readLen)]
		before := string(frame)
		for _, p := range []protocol{protocolARP, protocolNDP} {
			var seen []Sighting
			l := testLane(p, new(Stats), func(s Sighting) { seen = append(seen, s) })
			var sent keptConn
			l.handle(&sent, frame, new(buffer))
			if len(sent.frames) > 1 || len(seen) > 1 {
				t.Fatalf("%v: %d frames and %d sightings for one", p.id, len(sent.frames), len(seen))
			}
			for _, answer := range sent.frames {
				if len(answer) < minFrame || [6]byte(answer[6:]) != ownMAC || [6]byte(answer) == ownMAC || [6]byte(answer) == broadcast {
					t.Fatalf("%v: answer %x", p.id, answer)
				}
			}
			var drops uint64
			l.stats.EachDrop(func(_ Protocol, _ Drop, n uint64) { drops += n })
			if len(sent.frames) == 0 && len(seen) == 0 && drops != 1 {
				t.Fatalf("%v: nothing happens, and it is counted %d times", p.id, drops)
			}
			if _, mac, ok := readAnswer(p.etherType, frame, ownMAC); ok && !answerable(mac, ownMAC) {
				t.Fatalf("%v: an answer from %x", p.id, mac)
			}
		}
		if string(frame) != before {
			t.Fatal("the frame was changed")
		}
	})
}

// keptConn keeps what it is given to send.
type keptConn struct {
	fakeConn
	frames [][]byte
}

func (c *keptConn) answer(frame []byte) error {
	c.frames = append(c.frames, bytes.Clone(frame))
	return nil
}
