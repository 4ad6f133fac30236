package responder

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"
)

type ndpRow struct {
	name  string
	frame func() []byte
	want  ndpSpec // if drop is Answered
	drop  Drop
}

func ndpRows(tb testing.TB) []ndpRow {
	edit := func(change func(*ndpSpec)) func() []byte {
		s := solicitation()
		change(&s)
		return func() []byte { return s.bytes(tb) }
	}
	raw := func(change func([]byte) []byte) func() []byte {
		return func() []byte { return change(solicitation().bytes(tb)) }
	}
	proxied := advertisement()
	proxied.to = otherMAC
	unspecified := netip.IPv6Unspecified()
	optionOfLength := func(n byte) func([]byte) []byte {
		return func(b []byte) []byte { b[offICMPOption+1] = n; return b }
	}
	return []ndpRow{
		{name: "multicast solicitation", frame: edit(func(*ndpSpec) {}), want: advertisement()},
		{name: "unicast solicitation", frame: edit(func(s *ndpSpec) { s.to, s.dest = ownMAC, vip6 }), want: advertisement()},
		{name: "multicast sent to this host only", frame: edit(func(s *ndpSpec) { s.to = ownMAC }), want: advertisement()},
		{name: "without source option", frame: edit(func(s *ndpSpec) {
			s.to, s.dest, s.message = ownMAC, vip6, ns(vip6, [6]byte{})
		}), want: advertisement()},
		{name: "other options are skipped", frame: edit(func(s *ndpSpec) {
			m := ns(vip6, clientMAC)
			m.Options = append([]ndp.Option{ndp.NewMTU(1500)}, m.Options...)
			s.message = m
		}), want: advertisement()},
		{name: "answer goes to the source option", frame: edit(func(s *ndpSpec) { s.message = ns(vip6, otherMAC) }), want: proxied},
		{name: "duplicate address detection", frame: edit(func(s *ndpSpec) {
			s.source, s.message = unspecified, ns(vip6, [6]byte{})
		}), want: defence()},
		{name: "frame with padding", frame: raw(func(b []byte) []byte { return append(b, 1, 2, 3, 4, 5) }), want: advertisement()},
		{name: "foreign address", frame: edit(func(s *ndpSpec) { s.message = ns(foreign6, clientMAC) }), drop: DropNotHeld},
		{name: "tentative address", frame: edit(func(s *ndpSpec) { s.message = ns(watched6, clientMAC) }), drop: DropTentative},
		{name: "foreign address of the same group", frame: edit(func(s *ndpSpec) { s.message = ns(sameGroup, clientMAC) }), drop: DropNotHeld},
		{name: "unicast frame to another host", frame: edit(func(s *ndpSpec) { s.to = otherMAC }), drop: DropDestination},
		{name: "broadcast frame", frame: edit(func(s *ndpSpec) { s.to = broadcast }), drop: DropDestination},
		{name: "sent to all nodes", frame: edit(func(s *ndpSpec) { s.to, s.dest = allNodesMAC, nodes6 }), drop: DropDestination},
		{name: "came through a router", frame: edit(func(s *ndpSpec) { s.hops = 254 }), drop: DropHopLimit},
		{name: "wrong checksum", frame: edit(func(s *ndpSpec) { s.spoilChecksum = true }), drop: DropChecksum},
		{name: "sender has the address", frame: edit(func(s *ndpSpec) { s.source = vip6 }), drop: DropClaim},
		{name: "advertisement", frame: edit(func(s *ndpSpec) { s.message = na(vip6, clientMAC, false) }), drop: DropNotRequest},
		{name: "not ICMPv6", frame: edit(func(s *ndpSpec) { s.nextHeader = 17 }), drop: DropNotRequest},
		{name: "extension header", frame: edit(func(s *ndpSpec) { s.nextHeader = 44 }), drop: DropNotRequest},
		{name: "duplicate address detection with option", frame: edit(func(s *ndpSpec) { s.source = unspecified }), drop: DropMalformed},
		{name: "duplicate address detection by unicast", frame: edit(func(s *ndpSpec) {
			s.source, s.to, s.dest, s.message = unspecified, ownMAC, vip6, ns(vip6, [6]byte{})
		}), drop: DropMalformed},
		{name: "sender is a group", frame: edit(func(s *ndpSpec) { s.source = nodes6 }), drop: DropMalformed},
		{name: "option says broadcast", frame: edit(func(s *ndpSpec) { s.message = ns(vip6, broadcast) }), drop: DropSender},
		{name: "option says this interface", frame: edit(func(s *ndpSpec) { s.message = ns(vip6, ownMAC) }), drop: DropSender},
		{name: "option of length zero", frame: raw(optionOfLength(0)), drop: DropMalformed},
		{name: "option longer than the message", frame: raw(optionOfLength(2)), drop: DropMalformed},
		{name: "packet longer than the frame", frame: edit(func(s *ndpSpec) { s.payloadTooLong = 1 }), drop: DropShort},
		{name: "short", frame: raw(func(b []byte) []byte { return b[:77] }), drop: DropShort},
		{name: "message too short", frame: raw(func(b []byte) []byte { b[offIPLength+1] = 23; return b }), drop: DropMalformed},
		{name: "code", frame: raw(func(b []byte) []byte { b[offICMP+1] = 1; return b }), drop: DropMalformed},
		{name: "not IPv6", frame: raw(func(b []byte) []byte { b[12], b[13] = 8, 0; return b }), drop: DropEtherType},
		{name: "version", frame: raw(func(b []byte) []byte { b[offIP] = 0x45; return b }), drop: DropMalformed},
	}
}

func TestAnswerNDP(t *testing.T) {
	for _, tt := range ndpRows(t) {
		t.Run(tt.name, func(t *testing.T) {
			s, out := testSnapshot(), new(buffer)
			for i := range out {
				out[i] = 0xee
			}
			n, counter, drop := answerNDP(tt.frame(), s, out)
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
			if counter != s.v6[vip6.As16()].Counter {
				t.Error("the counter is not that of the address asked for")
			}
		})
	}
}

func TestAnnounceNDP(t *testing.T) {
	if diff := cmp.Diff([][]byte{defence().bytes(t)}, announceNDP(ownMAC, vip6)); diff != "" {
		t.Errorf("unsolicited advertisement (-want +got):\n%s", diff)
	}
}

func TestProbeNDP(t *testing.T) {
	spec := probe6(watched6, ownNonce)
	spec.from = ownMAC
	if diff := cmp.Diff(spec.bytes(t), probeNDP(testSnapshot(), watched6)); diff != "" {
		t.Errorf("probe (-want +got):\n%s", diff)
	}
}

func FuzzNDP(f *testing.F) {
	for _, row := range ndpRows(f) {
		f.Add(row.frame())
	}
	for _, row := range ndpSightings(f) {
		f.Add(row.frame)
	}
	s, out := testSnapshot(), new(buffer)
	passes := machine(f, filterNDP(s, maxIntervals))
	f.Fuzz(func(t *testing.T, frame []byte) {
		fixChecksum(frame)
		before := string(frame)
		n, counter, drop := answerNDP(frame, s, out)
		sighting, sighted := sightNDP(frame, s)
		if string(frame) != before {
			t.Fatal("the frame was changed")
		}
		if sighted {
			checkSighting(t, sighting, vip6, watched6)
		}
		if passed := passes(frame); !passed && (sighted || drop == Answered) {
			t.Fatal("the filter keeps it back")
		}
		if (drop == Answered) != (n == maxAnswer) || (drop == Answered) != (counter != nil) {
			t.Fatalf("length %d, counter %v, drop %v", n, counter, drop)
		}
		if drop != Answered {
			return
		}
		m, err := ndp.ParseMessage(out[offICMP:n])
		if err != nil {
			t.Fatal(err)
		}
		to := netip.AddrFrom16([16]byte(out[offIPTo:]))
		dad := to == nodes6
		if diff := cmp.Diff(na(vip6, ownMAC, !dad), m, compareAddr); diff != "" {
			t.Fatalf("answer (-want +got):\n%s", diff)
		}
		if toMAC := [6]byte(out[:6]); !dad && (to.IsMulticast() || to == vip6 || toMAC[0]&1 != 0 || toMAC == ownMAC) {
			t.Fatalf("answer to %v at %x for %x", to, toMAC, frame)
		}
	})
}

var compareAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// fixChecksum makes the checksum right where there is one, or the fuzzer would rarely get past it.
func fixChecksum(frame []byte) {
	if message, drop := checkIPv6(frame, ownMAC); drop == Answered {
		message[2], message[3] = 0, 0
		sum := checksum([16]byte(frame[offIPFrom:]), [16]byte(frame[offIPTo:]), message)
		message[2], message[3] = byte(sum>>8), byte(sum)
	}
}

func BenchmarkAnswerNDP(b *testing.B) {
	s, out, frame := testSnapshot(), new(buffer), solicitation().bytes(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, drop := answerNDP(frame, s, out); drop != Answered {
			b.Fatal(drop)
		}
	}
}
