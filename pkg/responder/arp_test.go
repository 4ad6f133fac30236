package responder

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
)

// arpRow is one row of the table that is used for the function and for real sockets.
type arpRow struct {
	name  string
	frame func() []byte
	want  arpSpec // if drop is Answered
	drop  Drop
}

func arpRows(tb testing.TB) []arpRow {
	edit := func(change func(*arpSpec)) func() []byte {
		s := request()
		change(&s)
		return func() []byte { return s.bytes(tb) }
	}
	raw := func(change func([]byte) []byte) func() []byte {
		return func() []byte { return change(request().bytes(tb)) }
	}
	probe := reply()
	probe.target = netip.IPv4Unspecified()
	proxied := reply()
	proxied.to, proxied.targetMAC = otherMAC, otherMAC
	return []arpRow{
		{name: "broadcast request", frame: edit(func(*arpSpec) {}), want: reply()},
		{name: "unicast request", frame: edit(func(s *arpSpec) { s.to = ownMAC }), want: reply()},
		{name: "target MAC is irrelevant", frame: edit(func(s *arpSpec) { s.targetMAC = broadcast }), want: reply()},
		{name: "probe of a host without address", frame: edit(func(s *arpSpec) { s.sender = netip.IPv4Unspecified() }), want: probe},
		{name: "reply goes to the MAC in the packet", frame: edit(func(s *arpSpec) { s.senderMAC = otherMAC }), want: proxied},
		{name: "frame without padding", frame: raw(func(b []byte) []byte { return b[:42] }), want: reply()},
		{name: "frame longer than usual", frame: raw(func(b []byte) []byte { return append(b, make([]byte, 900)...) }), want: reply()},
		{name: "padding is not zero", frame: raw(func(b []byte) []byte { b[50] = 7; return b }), want: reply()},
		{name: "foreign address", frame: edit(func(s *arpSpec) { s.target = foreign4 }), drop: DropNotHeld},
		{name: "tentative address", frame: edit(func(s *arpSpec) { s.target = watched4 }), drop: DropTentative},
		{name: "unicast to another host", frame: edit(func(s *arpSpec) { s.to = otherMAC }), drop: DropDestination},
		{name: "multicast", frame: edit(func(s *arpSpec) { s.to = mac("01:00:5e:00:00:01") }), drop: DropDestination},
		{name: "reply", frame: edit(func(s *arpSpec) { s.op = arp.OperationReply }), drop: DropNotRequest},
		{name: "announcement of another host", frame: edit(func(s *arpSpec) { s.sender = vip4 }), drop: DropClaim},
		{name: "sender is broadcast", frame: edit(func(s *arpSpec) { s.senderMAC = broadcast }), drop: DropSender},
		{name: "sender is zero", frame: edit(func(s *arpSpec) { s.senderMAC = [6]byte{} }), drop: DropSender},
		{name: "sender is this interface", frame: edit(func(s *arpSpec) { s.senderMAC = ownMAC }), drop: DropSender},
		{name: "short", frame: raw(func(b []byte) []byte { return b[:41] }), drop: DropShort},
		{name: "not ARP", frame: raw(func(b []byte) []byte { b[12] = 0x81; b[13] = 0; return b }), drop: DropEtherType},
		{name: "hardware type", frame: raw(func(b []byte) []byte { b[15] = 6; return b }), drop: DropMalformed},
		{name: "protocol type", frame: raw(func(b []byte) []byte { b[16] = 0x86; return b }), drop: DropMalformed},
		{name: "hardware length", frame: raw(func(b []byte) []byte { b[18] = 8; return b }), drop: DropMalformed},
		{name: "protocol length", frame: raw(func(b []byte) []byte { b[19] = 16; return b }), drop: DropMalformed},
	}
}

func TestAnswerARP(t *testing.T) {
	for _, tt := range arpRows(t) {
		t.Run(tt.name, func(t *testing.T) {
			s, out := testSnapshot(), new(buffer)
			for i := range out {
				out[i] = 0xee // what an earlier answer left behind must not leak
			}
			n, counter, drop := answerARP(tt.frame(), s, out)
			if drop != tt.drop {
				t.Fatalf("dropped for %v, want %v", drop, tt.drop)
			}
			if drop != Answered {
				if n != 0 || counter != nil {
					t.Fatalf("length %d and counter %v for a dropped frame", n, counter)
				}
				return
			}
			if diff := cmp.Diff(tt.want.bytes(t), out[:n]); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if counter != s.v4[vip4.As4()].Counter {
				t.Error("the counter is not that of the address asked for")
			}
		})
	}
}

func TestAnnounceARP(t *testing.T) {
	spec := arpSpec{to: broadcast, from: ownMAC, senderMAC: ownMAC, sender: vip4, targetMAC: broadcast, target: vip4}
	var want [][]byte
	for _, spec.op = range []arp.Operation{arp.OperationRequest, arp.OperationReply} {
		want = append(want, spec.bytes(t))
	}
	if diff := cmp.Diff(want, announceARP(ownMAC, vip4)); diff != "" {
		t.Errorf("gratuitous frames (-want +got):\n%s", diff)
	}
}

func TestProbeARP(t *testing.T) {
	spec := probe4(watched4)
	spec.from, spec.senderMAC = ownMAC, ownMAC
	if diff := cmp.Diff(spec.bytes(t), probeARP(testSnapshot(), watched4)); diff != "" {
		t.Errorf("probe (-want +got):\n%s", diff)
	}
}

func FuzzARP(f *testing.F) {
	for _, row := range arpRows(f) {
		f.Add(row.frame())
	}
	for _, row := range arpSightings(f) {
		f.Add(row.frame)
	}
	s, out := testSnapshot(), new(buffer)
	passes := machine(f, filterARP(s, maxIntervals))
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := string(frame)
		n, counter, drop := answerARP(frame, s, out)
		sighting, sighted := sightARP(frame, s)
		if string(frame) != before {
			t.Fatal("the frame was changed")
		}
		if sighted {
			checkSighting(t, sighting, vip4, watched4)
		}
		if passed := passes(frame); !passed && (sighted || drop == Answered) {
			t.Fatal("the filter keeps it back")
		}
		if (drop == Answered) != (n == minFrame) || (drop == Answered) != (counter != nil) {
			t.Fatalf("length %d, counter %v, drop %v", n, counter, drop)
		}
		if drop != Answered {
			return
		}
		// Whatever asked, the answer is a well-formed reply about vip4, to one host that isn't this one.
		var p arp.Packet
		if err := p.UnmarshalBinary(out[ethernetLen:n]); err != nil {
			t.Fatal(err)
		}
		to := [6]byte(out[:6])
		if p.Operation != arp.OperationReply || p.SenderIP != vip4 || [6]byte(p.SenderHardwareAddr) != ownMAC ||
			to != [6]byte(p.TargetHardwareAddr) || to[0]&1 != 0 || to == ownMAC || p.TargetIP == vip4 {
			t.Fatalf("answer %+v to %x", p, frame)
		}
	})
}

func BenchmarkAnswerARP(b *testing.B) {
	s, out, frame := testSnapshot(), new(buffer), request().bytes(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, drop := answerARP(frame, s, out); drop != Answered {
			b.Fatal(drop)
		}
	}
}
