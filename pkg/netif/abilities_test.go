package netif

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// node is a random node: its interfaces, and which of their responders don't work.
type node struct {
	snapshot *Snapshot
	failed   map[int]bool
}

func randomNode(rng *rand.Rand, interfaces, addrs int) node {
	skips := []Skip{Eligible, Eligible, Eligible, SkipDown, SkipNoCarrier, SkipExcluded, SkipMember}
	n := node{failed: make(map[int]bool)}
	var all []Interface
	for index := range interfaces {
		i := Interface{
			Index: index + 1, Name: fmt.Sprintf("eth%d", index), MAC: MAC{2, 4: byte(rng.IntN(4)), 5: byte(rng.IntN(interfaces))},
			Skip: skips[rng.IntN(len(skips))],
		}
		for range rng.IntN(addrs + 1) {
			i.Prefixes = append(i.Prefixes, randomPrefix(rng))
		}
		all = append(all, i)
		n.failed[i.Index] = rng.IntN(6) == 0
	}
	n.snapshot = NewSnapshot(all...)
	return n
}

// randomPrefix returns one of few, so that they coincide and contain each other.
func randomPrefix(rng *rand.Rand) netip.Prefix {
	switch rng.IntN(6) {
	case 0:
		return netip.PrefixFrom(randomHost(rng), 16+rng.IntN(17))
	case 1:
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(rng.IntN(8))}), 64)
	case 2:
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254, 0, byte(rng.IntN(8))}), 16)
	case 3:
		return netip.PrefixFrom(randomHost(rng), 24)
	}
	return netip.PrefixFrom(randomHost6(rng), 44+4*rng.IntN(8))
}

func randomHost(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(16))})
}

func randomHost6(rng *rand.Rand) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 5: byte(rng.IntN(4)) << 4, 7: byte(rng.IntN(2)), 15: byte(rng.IntN(16))})
}

func randomAddr(rng *rand.Rand) netip.Addr {
	switch rng.IntN(5) {
	case 0:
		return netip.AddrFrom4([4]byte{169, 254, 0, byte(rng.IntN(8))})
	case 1:
		return netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(rng.IntN(8))})
	case 2:
		return randomHost6(rng)
	}
	return randomHost(rng)
}

// canCarry is the slow twin of Abilities.CanCarry.
func (n node) canCarry(addr netip.Addr, allowed []string) bool {
	carriers, _ := n.snapshot.Carriers(addr, allowed)
	return slices.ContainsFunc(carriers, func(i Interface) bool { return !n.failed[i.Index] })
}

// TestAbilitiesAgainstCarriers compares what peers conclude from the abilities that they receive with what the node
// itself does, for nodes of all sizes.
func TestAbilitiesAgainstCarriers(t *testing.T) {
	const seed = 5
	rng := rand.New(rand.NewPCG(seed, seed))
	names := []string{"eth0", "eth1", "eth5", "wan"}
	ranges := []Range{
		{netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.3.255")},
		{netip.MustParseAddr("2001::"), netip.MustParseAddr("2001:ffff::")},
		{netip.MustParseAddr("169.254.0.0"), netip.MustParseAddr("169.254.255.255")},
		{netip.MustParseAddr("fe80::"), netip.MustParseAddr("fe80::ffff")},
	}
	truncated, reduced, yes, no := 0, 0, 0, 0
	for range 3000 {
		n := randomNode(rng, 1+rng.IntN(1<<rng.IntN(8)), 3)
		sent, err := n.snapshot.Abilities(names, ranges, n.failed).MarshalBinary()
		if err != nil || len(sent) > MaxAbilities {
			t.Fatalf("%d bytes, %v", len(sent), err)
		}
		a, err := ParseAbilities(sent)
		if err != nil {
			t.Fatal(err)
		}
		if a.Truncated() {
			truncated++
		} else if len(n.snapshot.abilities(n.failed).marshal()) > MaxAbilities {
			reduced++
		}
		for range 50 {
			addr, allowed := randomAddr(rng), names[:rng.IntN(len(names)+1)]
			if rng.IntN(2) == 0 {
				allowed = nil
			}
			want, got := n.canCarry(addr, allowed), a.CanCarry(addr, allowed)
			if got != want && (want || !a.Truncated()) {
				t.Fatalf("seed %d: CanCarry(%v, %v) = %v, want %v\n%s\n%+v %v",
					seed, addr, allowed, got, want, a, n.snapshot.Interfaces(), n.failed)
			}
			if want {
				yes++
			} else {
				no++
			}
		}
		for _, i := range n.snapshot.able {
			if !slices.Contains(a.MACs(), i.MAC) && !a.Truncated() {
				t.Fatalf("MAC %v is missing", i.MAC)
			}
		}
	}
	for what, count := range map[string]int{"truncated": truncated, "reduced": reduced, "yes": yes, "no": no} {
		if count < 20 {
			t.Errorf("%s: %d cases only", what, count)
		}
	}
}

func TestAbilities(t *testing.T) {
	all := []Interface{
		host(1, "lo", SkipExcluded, "127.0.0.1/8"),
		host(2, "eth0", Eligible, "192.168.1.5/24", "fe80::5/64"),
		host(3, "eth1", SkipNoCarrier, "10.0.0.5/8"),
		host(4, "eth2", Eligible),
	}
	a := NewSnapshot(all...).Abilities(nil, nil, map[int]bool{4: true})
	want := "02:00:00:00:00:02, 02:00:00:00:00:03, 02:00:00:00:00:04, eth0, 10.0.0.0/8 (down), 192.168.1.0/24, fe80::/64"
	if diff := cmp.Diff(want, a.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		addr    string
		allowed []string
		want    bool
	}{
		{"192.168.1.160", nil, true},
		{"::ffff:192.168.1.160", nil, true},
		{"10.1.1.1", nil, false},
		{"203.0.113.9", nil, true},
		{"192.168.1.160", []string{"eth1"}, false},
		{"192.168.1.160", []string{"eth2"}, false}, // its responder failed
		{"10.1.1.1", []string{"eth1", "eth0"}, true},
	} {
		if got := a.CanCarry(netip.MustParseAddr(tt.addr), tt.allowed); got != tt.want {
			t.Errorf("CanCarry(%s, %q) = %v, want %v", tt.addr, tt.allowed, got, tt.want)
		}
	}
	var unknown *Snapshot
	none := unknown.Abilities(nil, nil, nil)
	if none.CanCarry(netip.MustParseAddr("10.0.0.1"), nil) || len(none.MACs()) > 0 || !none.Equal(Abilities{}) || a.Equal(none) {
		t.Errorf("before the first scan: %v", none)
	}
}

// TestAbilitiesTooLong: what matters least is dropped first, and then the answer is yes.
func TestAbilitiesTooLong(t *testing.T) {
	names := []string{}
	var all []Interface
	for i := range 40 {
		all = append(all, host(i+1, fmt.Sprintf("interface%d", i), Eligible, fmt.Sprintf("10.%d.0.1/16", i)))
		names = append(names, all[i].Name)
	}
	pool := []Range{{netip.MustParseAddr("10.3.0.9"), netip.MustParseAddr("10.4.0.9")}}
	for _, tt := range []struct {
		name     string
		names    []string
		ranges   []Range
		want     string
		prefixes int
	}{
		{"some names matter, and the subnets of a pool", names[3:5], pool, "[interface3 interface4]", 2},
		{"all subnets matter", nil, []Range{{netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.255.0.0")}}, "[]", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := NewSnapshot(all...).Abilities(tt.names, tt.ranges, nil)
			if got := fmt.Sprint(a.names); got != tt.want || len(a.prefixes) != tt.prefixes || len(a.macs) != 40 {
				t.Errorf("%d bytes: %s", len(a.marshal()), a)
			}
			if a.Truncated() != (tt.prefixes == 0) {
				t.Errorf("Truncated = %v", a.Truncated())
			}
			if !a.CanCarry(netip.MustParseAddr("10.3.0.12"), nil) {
				t.Error("can't carry an address in its subnet")
			}
		})
	}
	var many []Interface
	for i := range 5000 {
		many = append(many, Interface{Index: i + 1, Name: "e", MAC: MAC{2, 4: byte(i >> 8), 5: byte(i)}})
	}
	a := NewSnapshot(many...).Abilities([]string{"e"}, nil, nil)
	if n := len(a.marshal()); n > MaxAbilities || n < MaxAbilities-6 || !a.CanCarry(netip.MustParseAddr("10.3.0.12"), []string{"x"}) {
		t.Errorf("%d bytes: %s", n, a)
	}
}

func TestRangeOverlaps(t *testing.T) {
	for _, tt := range []struct {
		first, last, prefix string
		want                bool
	}{
		{"10.0.0.10", "10.0.0.20", "10.0.0.5/24", true},
		{"10.0.0.10", "10.0.0.20", "10.0.0.16/30", true},
		{"10.0.0.10", "10.0.0.20", "10.0.0.20/32", true},
		{"10.0.0.10", "10.0.0.20", "10.0.0.10/32", true},
		{"10.0.0.10", "10.0.0.20", "10.0.0.21/32", false},
		{"10.0.0.10", "10.0.0.20", "10.0.0.9/32", false},
		{"10.0.0.10", "10.0.0.20", "10.0.1.0/24", false},
		{"10.0.0.10", "10.0.0.20", "::/0", false},
		{"2001:db8::1", "2001:db8::ffff", "2001:db8::/64", true},
		{"2001:db8::1", "2001:db8::ffff", "0.0.0.0/0", false},
	} {
		r := Range{netip.MustParseAddr(tt.first), netip.MustParseAddr(tt.last)}
		if got := r.overlaps(netip.MustParsePrefix(tt.prefix)); got != tt.want {
			t.Errorf("%v overlaps %s = %v, want %v", r, tt.prefix, got, tt.want)
		}
	}
}

func FuzzAbilities(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 6 {
		n := randomNode(rng, 1+i*i, 3)
		f.Add(n.snapshot.Abilities(nil, nil, n.failed).marshal())
	}
	f.Add([]byte{})
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{1, 3, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAbilities(b)
		if err != nil {
			return
		}
		if again := a.marshal(); b[0] == abilitiesVersion && string(again) != string(b) {
			t.Fatalf("%x became %x", b, again)
		}
		a.CanCarry(netip.MustParseAddr("10.0.0.1"), nil)
		a.CanCarry(netip.MustParseAddr("fe80::1"), []string{"eth0"})
		_ = a.String()
	})
}

// TestAbilitiesOfOthers fixes the binary form: nodes of another release must understand it, and this one understands theirs.
func TestAbilitiesOfOthers(t *testing.T) {
	want := NewSnapshot(host(2, "eth0", Eligible, "192.168.1.5/24")).Abilities(nil, nil, nil)
	const text = "\x01\x01\x00\x01\x02\x00\x00\x00\x00\x02\x00\x01\x04eth0\x00\x01\x04\x18\xc0\xa8\x01"
	if got := string(want.marshal()); got != text {
		t.Errorf("%s is\n%q, want\n%q", want, got, text)
	}
	for name, b := range map[string]string{
		"this":                      text,
		"a later one":               "\x02" + text[1:],
		"a later one with a flag":   "\x02\x81" + text[2:],
		"a later one with more":     "\x1f" + text[1:] + "more",
		"a later one with all that": "\x1f\x81" + text[2:] + "\x00\x00",
	} {
		if got, err := ParseAbilities([]byte(b)); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, want)
		}
	}
}

func TestParseAbilitiesErrors(t *testing.T) {
	good := NewSnapshot(host(2, "eth0", Eligible, "192.168.1.5/24")).Abilities(nil, nil, nil).marshal()
	for name, b := range map[string][]byte{
		"empty":         {},
		"version 0":     append([]byte{0}, good[1:]...),
		"version 32":    append([]byte{32}, good[1:]...),
		"a later list":  append([]byte{2}, good[1:len(good)-1]...),
		"flags":         append([]byte{1, 0x81}, good[2:]...),
		"cut short":     good[:len(good)-1],
		"too much":      append(slices.Clone(good), 0),
		"long":          make([]byte, MaxAbilities+1),
		"a long list":   {1, 1, 0xff, 0xff, 1, 2, 3},
		"host bits":     {1, 0, 0, 0, 0, 0, 0, 1, 4, 20, 10, 0, 0xff},
		"bits":          {1, 0, 0, 0, 0, 0, 0, 1, 4, 33, 10, 0, 0, 1, 0},
		"prefix flags":  {1, 0, 0, 0, 0, 0, 0, 1, 8, 0},
		"names in turn": {1, 1, 0, 0, 0, 2, 1, 'b', 1, 'a', 0, 0},
	} {
		if a, err := ParseAbilities(b); err == nil {
			t.Errorf("%s: %v is accepted", name, a)
		}
	}
	if _, err := ParseAbilities(good); err != nil {
		t.Error(err)
	}
}

func TestParseExclude(t *testing.T) {
	for _, tt := range []struct {
		text     string
		excluded []string
		kept     []string
		err      string
	}{
		{text: "", excluded: []string{"docker0", "lo", "cali123"}, kept: []string{"eth0"}},
		{text: "  ", excluded: []string{"docker0"}},
		{text: "^eth[23]$, ^wg", excluded: []string{"eth2", "wg0"}, kept: []string{"eth1", "eth22", "docker0"}},
		{text: "^eth(,^wg", err: "parse excluded interfaces: pattern \"^eth(\": error parsing regexp: missing closing ): `^eth(`"},
		{text: "^eth,,^wg", err: `parse excluded interfaces "^eth,,^wg": pattern 2 is empty`},
		{text: ",", err: `parse excluded interfaces ",": pattern 1 is empty`},
	} {
		patterns, err := ParseExclude(tt.text)
		if got := fmt.Sprint(err); tt.err != "" && got != tt.err || tt.err == "" && err != nil {
			t.Errorf("ParseExclude(%q): error %s, want %s", tt.text, got, tt.err)
		}
		for _, name := range tt.excluded {
			if !excluded(name, patterns) {
				t.Errorf("%q does not exclude %s", tt.text, name)
			}
		}
		for _, name := range tt.kept {
			if excluded(name, patterns) {
				t.Errorf("%q excludes %s", tt.text, name)
			}
		}
	}
}

func TestCarriesSame(t *testing.T) {
	snapshot := func(hosts ...Interface) Abilities { return NewSnapshot(hosts...).Abilities(nil, nil, nil) }
	base := snapshot(host(2, "eth0", Eligible, "192.168.1.5/24"))
	for _, tt := range []struct {
		name  string
		other Abilities
		want  bool
	}{
		{"another host of the subnet, with another MAC", snapshot(host(3, "eth0", Eligible, "192.168.1.6/24")), true},
		{"another subnet", snapshot(host(2, "eth0", Eligible, "192.168.2.5/24")), false},
		{"another name", snapshot(host(2, "eth1", Eligible, "192.168.1.5/24")), false},
		{"one more subnet", snapshot(host(2, "eth0", Eligible, "192.168.1.5/24", "10.0.0.1/8")), false},
		{"the interface has failed", NewSnapshot(host(2, "eth0", Eligible, "192.168.1.5/24")).Abilities(nil, nil, map[int]bool{2: true}), false},
		{"nothing", Abilities{}, false},
		{"MACs were cut", Abilities{cut: cutMACs, working: true, names: base.names, prefixes: base.prefixes}, true},
		{"names were cut", Abilities{cut: cutNames, working: true, names: base.names, prefixes: base.prefixes}, false},
	} {
		if got, back := base.CarriesSame(tt.other), tt.other.CarriesSame(base); got != tt.want || back != tt.want {
			t.Errorf("%s: got %t, and %t the other way round, want %t", tt.name, got, back, tt.want)
		}
	}
}
