package responder

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// sightingRow is a frame, and what it says about an address of testSnapshot; nothing if want is zero.
type sightingRow struct {
	name  string
	frame []byte
	want  Sighting
}

func arpSightings(tb testing.TB) []sightingRow {
	edit := func(s arpSpec, change func(*arpSpec)) []byte {
		change(&s)
		return s.bytes(tb)
	}
	claims := Sighting{vip4, clientMAC, Claim}
	probes := Sighting{watched4, clientMAC, Probe}
	return []sightingRow{
		{"announcement", claim4().bytes(tb), claims},
		{"announcement by reply", edit(claim4(), func(s *arpSpec) { s.op = arp.OperationReply }), claims},
		{"another operation", edit(claim4(), func(s *arpSpec) { s.op = 9 }), claims},
		{"request for another address", edit(claim4(), func(s *arpSpec) { s.target = foreign4 }), claims},
		{"request for another address of ours", edit(claim4(), func(s *arpSpec) { s.sender, s.target = watched4, vip4 }), Sighting{watched4, clientMAC, Claim}},
		{"reply to us", edit(claim4(), func(s *arpSpec) {
			s.op, s.to, s.sender, s.targetMAC, s.target = arp.OperationReply, ownMAC, watched4, ownMAC, netip.IPv4Unspecified()
		}), Sighting{watched4, clientMAC, Claim}},
		{"MAC of a cluster", edit(claim4(), func(s *arpSpec) { s.senderMAC = mac("03:bf:c0:00:02:01") }), Sighting{vip4, mac("03:bf:c0:00:02:01"), Claim}},
		{"the packet's MAC counts", edit(claim4(), func(s *arpSpec) { s.from = otherMAC }), claims},
		{"without padding", claim4().bytes(tb)[:42], claims},
		{"probe for a tentative address", probe4(watched4).bytes(tb), probes},
		{"probe for a held address", probe4(vip4).bytes(tb), Sighting{}},
		{"probe for another address", probe4(foreign4).bytes(tb), Sighting{}},
		{"reply of nobody", edit(probe4(watched4), func(s *arpSpec) { s.op = arp.OperationReply }), Sighting{}},
		{"own probe that came back", edit(probe4(watched4), func(s *arpSpec) { s.senderMAC = ownMAC }), Sighting{}},
		{"own announcement that came back", edit(claim4(), func(s *arpSpec) { s.from, s.senderMAC = ownMAC, ownMAC }), Sighting{}},
		{"of another address", edit(claim4(), func(s *arpSpec) { s.sender = foreign4 }), Sighting{}},
		{"to another host", edit(claim4(), func(s *arpSpec) { s.to = otherMAC }), Sighting{}},
		{"MAC is zero", edit(claim4(), func(s *arpSpec) { s.senderMAC = [6]byte{} }), Sighting{}},
		{"MAC is broadcast", edit(claim4(), func(s *arpSpec) { s.senderMAC = broadcast }), Sighting{}},
		{"short", claim4().bytes(tb)[:41], Sighting{}},
		{"ordinary request", request().bytes(tb), Sighting{}},
		{"request for a tentative address", edit(request(), func(s *arpSpec) { s.target = watched4 }), Sighting{}},
	}
}

func ndpSightings(tb testing.TB) []sightingRow {
	edit := func(s ndpSpec, change func(*ndpSpec)) []byte {
		change(&s)
		return s.bytes(tb)
	}
	raw := func(s ndpSpec, change func([]byte)) []byte {
		b := s.bytes(tb)
		change(b)
		return b
	}
	claims := Sighting{vip6, clientMAC, Claim}
	detects := Sighting{watched6, clientMAC, Probe}
	bare := func(target netip.Addr) *ndp.NeighborAdvertisement {
		return &ndp.NeighborAdvertisement{TargetAddress: target, Override: true}
	}
	detection := probe6(watched6, [6]byte{})
	long := func(s *ndpSpec) {
		m := ns(watched6, [6]byte{})
		m.Options = []ndp.Option{&ndp.RawOption{Type: 14, Length: 2, Value: make([]byte, 14)}}
		s.message = m
	}
	return []sightingRow{
		{"advertisement to all", claim6().bytes(tb), claims},
		{"advertisement of a tentative address", edit(claim6(), func(s *ndpSpec) { s.message = na(watched6, clientMAC, false) }), Sighting{watched6, clientMAC, Claim}},
		{"solicited advertisement to us", edit(claim6(), func(s *ndpSpec) {
			s.to, s.dest, s.message = ownMAC, vip6, na(vip6, clientMAC, true)
		}), claims},
		{"the option counts", edit(claim6(), func(s *ndpSpec) { s.from = otherMAC }), claims},
		{"without option the frame counts", edit(claim6(), func(s *ndpSpec) { s.message = bare(vip6) }), claims},
		{"duplicate address detection", detection.bytes(tb), detects},
		{"with a nonce", probe6(watched6, [6]byte{9}).bytes(tb), detects},
		{"with a longer nonce", edit(detection, long), detects},
		{"own detection that came back", probe6(watched6, ownNonce).bytes(tb), Sighting{}},
		{"own detection without nonce", edit(detection, func(s *ndpSpec) { s.from = ownMAC }), Sighting{}},
		{"detection for a held address", probe6(vip6, [6]byte{}).bytes(tb), Sighting{}},
		{"detection for another address", probe6(foreign6, [6]byte{}).bytes(tb), Sighting{}},
		{"detection with source option", edit(detection, func(s *ndpSpec) { s.message = ns(watched6, clientMAC) }), Sighting{}},
		{"detection by unicast", edit(detection, func(s *ndpSpec) { s.to, s.dest = ownMAC, watched6 }), Sighting{}},
		{"detection with a source", edit(detection, func(s *ndpSpec) { s.source = client6 }), Sighting{}},
		{"detection with a wrong checksum", edit(detection, func(s *ndpSpec) { s.spoilChecksum = true }), Sighting{}},
		{"own advertisement that came back", edit(claim6(), func(s *ndpSpec) { s.message = na(vip6, ownMAC, false) }), Sighting{}},
		{"of another address", edit(claim6(), func(s *ndpSpec) { s.message = na(foreign6, clientMAC, false) }), Sighting{}},
		{"solicited, but to all", edit(claim6(), func(s *ndpSpec) { s.message = na(vip6, clientMAC, true) }), Sighting{}},
		{"through a router", edit(claim6(), func(s *ndpSpec) { s.hops = 254 }), Sighting{}},
		{"wrong checksum", edit(claim6(), func(s *ndpSpec) { s.spoilChecksum = true }), Sighting{}},
		{"to another host", edit(claim6(), func(s *ndpSpec) { s.to = otherMAC }), Sighting{}},
		{"MAC is zero", edit(claim6(), func(s *ndpSpec) { s.from, s.message = [6]byte{}, bare(vip6) }), Sighting{}},
		{"option of length zero", raw(claim6(), func(b []byte) { b[offICMPOption+1] = 0 }), Sighting{}},
		{"code", raw(claim6(), func(b []byte) { b[offICMP+1] = 1 }), Sighting{}},
		{"longer than the frame", edit(claim6(), func(s *ndpSpec) { s.payloadTooLong = 8 }), Sighting{}},
		{"not ICMPv6", edit(claim6(), func(s *ndpSpec) { s.nextHeader = 17 }), Sighting{}},
		{"short", claim6().bytes(tb)[:77], Sighting{}},
		{"ordinary solicitation", solicitation().bytes(tb), Sighting{}},
		{"solicitation for a tentative address", edit(solicitation(), func(s *ndpSpec) { s.message = ns(watched6, clientMAC) }), Sighting{}},
	}
}

func TestSightings(t *testing.T) {
	s := testSnapshot()
	for protocol, tt := range map[string]struct {
		rows   []sightingRow
		sight  func([]byte, *snapshot) (Sighting, bool)
		passes func([]byte) bool
	}{
		"ARP": {arpSightings(t), sightARP, machine(t, filterARP(s, maxIntervals))},
		"NDP": {ndpSightings(t), sightNDP, machine(t, filterNDP(s, maxIntervals))},
	} {
		for _, row := range tt.rows {
			t.Run(protocol+" "+row.name, func(t *testing.T) {
				got, ok := tt.sight(row.frame, s)
				if diff := cmp.Diff(row.want, got, compareAddr); diff != "" || ok != (row.want != Sighting{}) {
					t.Errorf("sighting %v (-want +got):\n%s", ok, diff)
				}
				if ok && !tt.passes(row.frame) {
					t.Error("the filter keeps it back")
				}
			})
		}
	}
}

// checkSighting fails the test if no frame may make that sighting of these addresses.
func checkSighting(t *testing.T, s Sighting, held, tentative netip.Addr) {
	t.Helper()
	if s.Addr != tentative && (s.Addr != held || s.Kind == Probe) || !foreign(s.MAC, ownMAC) {
		t.Fatalf("%+v", s)
	}
}

// TestResponderSightings sends each row, and each time a claim by another host after it: sightings come in order.
func TestResponderSightings(t *testing.T) {
	onBoth(t, func(t *testing.T, w wire) {
		cfg := w.config()
		seen := make(chan Sighting, 100)
		cfg.OnSighting = func(s Sighting) { seen <- s }
		r := Open(cfg)
		defer r.Close()
		r.Set(map[netip.Addr]Entry{vip4: {}, vip6: {}, watched4: {Tentative: true}, watched6: {Tentative: true}})
		mark4, mark6 := claim4(), claim6()
		mark4.senderMAC, mark6.message = otherMAC, na(vip6, otherMAC, false)
		want := uint64(0)
		for _, tt := range []struct {
			rows  []sightingRow
			mark  []byte
			about netip.Addr
		}{{arpSightings(t), mark4.bytes(t), vip4}, {ndpSightings(t), mark6.bytes(t), vip6}} {
			for _, row := range tt.rows {
				if row.name == "own detection that came back" {
					continue // this responder has another nonce
				}
				w.send(row.frame)
				if row.want != (Sighting{}) {
					wantSighting(t, row.name, seen, row.want)
					want++
				}
				w.send(tt.mark)
				wantSighting(t, row.name+", and then the mark", seen, Sighting{tt.about, otherMAC, Claim})
				want++
			}
		}
		if got := cfg.Stats.Sightings(ARP) + cfg.Stats.Sightings(NDP); got != want {
			t.Errorf("counted %d sightings, want %d", got, want)
		}
	})
}

func wantSighting(t *testing.T, what string, seen <-chan Sighting, want Sighting) {
	t.Helper()
	select {
	case got := <-seen:
		if got != want {
			t.Fatalf("%s: %+v, want %+v", what, got, want)
		}
	case <-time.After(patience):
		t.Fatalf("%s: not seen", what)
	}
}

// TestResponderProbe: a tentative address is probed for, and neither answered nor announced; a held one the other way
// round.
func TestResponderProbe(t *testing.T) {
	onBoth(t, func(t *testing.T, w wire) {
		cfg := w.config()
		r := Open(cfg)
		defer r.Close()
		r.Set(map[netip.Addr]Entry{vip4: {}, vip6: {}, watched4: {Tentative: true}, watched6: {Tentative: true}})
		for addr, want := range map[netip.Addr]int{watched4: 1, watched6: 1, vip4: 0, vip6: 0, foreign4: 0, foreign6: 0} {
			n, err := r.Probe(addr)
			if n != want || err != nil {
				t.Fatalf("Probe(%v) = %d, %v, want %d", addr, n, err, want)
			}
			switch {
			case addr == watched4:
				spec := probe4(watched4)
				spec.from, spec.senderMAC = ownMAC, ownMAC
				expect(t, w, spec.bytes(t))
			case addr == watched6:
				spec := probe6(watched6, r.nonce)
				spec.from = ownMAC
				expect(t, w, spec.bytes(t))
			}
		}
		for _, addr := range []netip.Addr{watched4, watched6} {
			if n, err := r.Announce(addr); n != 0 || err != nil {
				t.Errorf("Announce(%v) = %d, %v, want none", addr, n, err)
			}
		}
		if n := cfg.Stats.Probes.Load(); n != 2 {
			t.Errorf("counted %d probes, want 2", n)
		}
		q4, q6 := request(), solicitation()
		q4.target, q6.message = watched4, ns(watched6, clientMAC)
		ask, answer := marker(t)
		ask6, answer6 := marker6(t)
		w.send(q4.bytes(t))
		w.send(ask)
		expect(t, w, answer)
		w.send(q6.bytes(t))
		w.send(ask6)
		expect(t, w, answer6)

		r.Set(map[netip.Addr]Entry{watched4: {}, watched6: {}}) // not tentative any more
		w.send(q4.bytes(t))
		a := reply()
		a.sender = watched4
		expect(t, w, a.bytes(t))
	})
}
