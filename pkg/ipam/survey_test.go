package ipam

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSurvey(t *testing.T) {
	r := func(text string) []Range {
		parsed, err := ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		return []Range{parsed}
	}
	a := New()
	err := a.SetPools([]Pool{
		{Name: "default", Ranges: r("192.168.1.160-192.168.1.161"), AutoAssign: true},
		{Name: "full", Ranges: r("192.168.1.170/32"), AutoAssign: true},
		{Name: "edge", Ranges: r("192.168.1.180/32")},
		{Name: "shop", Ranges: r("192.168.1.190/32"), AutoAssign: true, Namespaces: []string{"shop"}},
		{Name: "six", Ranges: r("fd00::/120"), AutoAssign: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	base := Request{Service: "web/a", Namespace: "web", Families: []Family{IPv4}}
	filler := base
	filler.Service, filler.Pool = "web/filler", "full"
	if _, err := a.Allocate(filler); err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Request)) Request {
		req := base
		change(&req)
		return req
	}
	tests := []struct {
		name string
		req  Request
		want []string
	}{
		{"any pool", base, []string{
			"pool shop: not for namespace web", "pool default: yes, IPv4", "pool full: 1 of 1 addresses in use",
			"pool edge: only on request (auto-assign: false)", "pool six: no IPv4 addresses",
		}},
		{"a pool", with(func(r *Request) { r.Pool = "edge" }), []string{
			"pool shop: the Service asks for edge", "pool default: the Service asks for edge", "pool full: the Service asks for edge",
			"pool edge: yes, IPv4", "pool six: the Service asks for edge",
		}},
		{"an address in use", with(func(r *Request) { r.Addrs = []netip.Addr{netip.MustParseAddr("192.168.1.170")} }), []string{
			"pool shop: the Service asks for 192.168.1.170", "pool default: the Service asks for 192.168.1.170",
			"address 192.168.1.170: in use by web/filler, not shared", "pool edge: the Service asks for 192.168.1.170",
			"pool six: the Service asks for 192.168.1.170",
		}},
		{"two families", with(func(r *Request) { r.Families = []Family{IPv6, IPv4} }), []string{
			"pool shop: not for namespace web", "pool default: no IPv6 addresses", "pool default: yes, IPv4",
			"pool full: no IPv6 addresses", "pool full: 1 of 1 addresses in use",
			"pool edge: no IPv6 addresses",
			"pool six: yes, IPv6", "pool six: no IPv4 addresses",
		}},
		{"what it holds", filler, []string{
			"pool shop: the Service asks for full", "pool default: the Service asks for full", "pool full: yes, IPv4",
			"pool edge: the Service asks for full", "pool six: the Service asks for full",
		}},
		{"a mistake", with(func(r *Request) { r.Families = nil }), []string{"the Service has no IP family"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, r := range a.Survey(tt.req) {
				text := r.String()
				if r.Reason == 0 {
					text = fmt.Sprintf("pool %s: yes, %s", r.Pool, r.Family)
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSurveyAgrees lets random Services ask, and checks that Survey has said yes just for what Allocate gives then.
func TestSurveyAgrees(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		a := New()
		var pools []Pool
		for i := range 1 + rng.IntN(4) {
			first := netip.AddrFrom4([4]byte{10, 0, byte(i), 1})
			last := netip.AddrFrom4([4]byte{10, 0, byte(i), byte(1 + rng.IntN(3))})
			p := Pool{Name: string(rune('a' + i)), Ranges: []Range{{From: first, To: last}}, AutoAssign: rng.IntN(3) > 0}
			if rng.IntN(3) == 0 {
				p.Namespaces = []string{"x"}
			}
			pools = append(pools, p)
		}
		if err := a.SetPools(pools); err != nil {
			t.Fatal(err)
		}
		for n := range 20 {
			req := Request{
				Service: fmt.Sprintf("x/%d", n), Namespace: []string{"x", "y"}[rng.IntN(2)], Families: []Family{IPv4},
				Ports: []Port{{"TCP", uint16(rng.IntN(3))}}, SharingKey: []string{"", "k"}[rng.IntN(2)],
			}
			if rng.IntN(4) == 0 {
				req.Pool = string(rune('a' + rng.IntN(5)))
			}
			if rng.IntN(4) == 0 {
				req.Addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(rng.IntN(4)), byte(rng.IntN(5))})}
			}
			yes := map[string]bool{}
			var said []string
			for _, r := range a.Survey(req) {
				said = append(said, r.String())
				if r.Reason == 0 {
					yes[r.Pool] = true
				}
			}
			alloc, err := a.Allocate(req)
			if (err == nil) != (len(yes) > 0) || err == nil && !yes[alloc.Pools[0]] {
				t.Fatalf("seed %d: %+v got %v from %v (%v); before, Survey said %s", seed, req, alloc.Addrs, alloc.Pools, err,
					strings.Join(said, "; "))
			}
		}
	}
}
