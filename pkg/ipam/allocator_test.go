package ipam_test

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/ipam"
)

// A desk is an Allocator whose answers are checked as text.
type desk struct {
	*testing.T
	*ipam.Allocator
}

// newDesk returns an Allocator with the given pools.
func newDesk(t *testing.T, pools ...ipam.Pool) desk {
	t.Helper()
	d := desk{T: t, Allocator: ipam.New()}
	d.edit(pools...)
	return d
}

// edit replaces the pools.
func (d desk) edit(pools ...ipam.Pool) {
	d.Helper()
	if err := d.SetPools(pools); err != nil {
		d.Fatalf("set pools: %v", err)
	}
}

// pool returns an auto-assigned pool of the ranges in text, after which flags may follow.
func pool(name, text string, flags ...string) ipam.Pool {
	p := ipam.Pool{Name: name, AutoAssign: true}
	for _, r := range strings.Fields(text) {
		parsed, err := ipam.ParseRange(r)
		if err != nil {
			panic(err)
		}
		p.Ranges = append(p.Ranges, parsed)
	}
	for _, flag := range flags {
		key, val, _ := strings.Cut(flag, "=")
		switch key {
		case "manual":
			p.AutoAssign = false
		case "avoid-buggy":
			p.AvoidBuggyIPs = true
		case "priority":
			p.Priority, _ = strconv.Atoi(val)
		case "namespace":
			p.Namespaces = append(p.Namespaces, val)
		case "team":
			p.NamespaceSelectors = append(p.NamespaceSelectors, ipam.Selector{MatchLabels: map[string]string{"team": val}})
		case "app":
			p.ServiceSelectors = append(p.ServiceSelectors, ipam.Selector{MatchLabels: map[string]string{"app": val}})
		default:
			panic("unknown flag " + flag)
		}
	}
	return p
}

// request returns the request of an IPv4 Service without ports, as words change it.
func request(service string, words ...string) ipam.Request {
	namespace, _, _ := strings.Cut(service, "/")
	req := ipam.Request{Service: service, Namespace: namespace, Families: []ipam.Family{ipam.IPv4}}
	for _, word := range words {
		key, val, _ := strings.Cut(word, "=")
		switch key {
		case "v6":
			req.Families = []ipam.Family{ipam.IPv6}
		case "dual":
			req.Families = []ipam.Family{ipam.IPv4, ipam.IPv6}
		case "dual6":
			req.Families = []ipam.Family{ipam.IPv6, ipam.IPv4}
		case "prefer":
			req.Partial = true
		case "addr":
			req.Addrs = append(req.Addrs, netip.MustParseAddr(val))
		case "pool":
			req.Pool = val
		case "reallocate":
			req.Reallocate = true
		case "key":
			req.SharingKey = val
		case "backend":
			req.BackendKey = val
		case "from":
			req.FromPools = append(req.FromPools, val)
		case "team":
			req.NamespaceLabels = map[string]string{"team": val}
		case "app":
			req.Labels = map[string]string{"app": val}
		case "tcp", "udp":
			n, _ := strconv.ParseUint(val, 10, 16)
			req.Ports = append(req.Ports, ipam.Port{Protocol: strings.ToUpper(key), Port: uint16(n)})
		default:
			panic("unknown word " + word)
		}
	}
	return req
}

// showAllocation returns an allocation and its error as "addresses left:addresses stranded:addresses freed missing:why
// error:why".
func showAllocation(alloc ipam.Allocation, err error) string {
	join := func(list []netip.Addr) string {
		return strings.Trim(fmt.Sprint(list), "[]")
	}
	parts := []string{}
	add := func(prefix, text string) {
		if text != "" {
			parts = append(parts, prefix+text)
		}
	}
	add("", join(alloc.Addrs))
	add("left:", join(alloc.Left))
	add("stranded:", join(alloc.Stranded))
	if alloc.Freed {
		add("", "freed")
	}
	if alloc.Missing != nil {
		add("missing:", alloc.Missing.Error())
	}
	if err != nil {
		add("error:", err.Error())
	}
	return strings.Join(parts, " ")
}

// want allocates for a Service and compares the answer.
func (d desk) want(answer, service string, words ...string) {
	d.Helper()
	if got := showAllocation(d.Allocate(request(service, words...))); got != answer {
		d.Errorf("%s %v:\n got %q\nwant %q", service, words, got, answer)
	}
}

// settled is want followed by the confirmation of the status.
func (d desk) settled(answer, service string, words ...string) {
	d.Helper()
	d.want(answer, service, words...)
	held, _ := d.Held(service)
	d.Confirm(service, held.Addrs)
}

// release releases a Service that holds something.
func (d desk) release(service string) {
	d.Helper()
	if !d.Release(service) {
		d.Errorf("release %s: it held nothing", service)
	}
}

func TestAllocateLowestFirst(t *testing.T) {
	d := newDesk(t, pool("default", "192.168.1.160-192.168.1.162"))
	d.want("192.168.1.160", "default/a")
	d.want("192.168.1.161", "default/b")
	d.want("192.168.1.160", "default/a")
	d.want("192.168.1.162", "default/c")
	d.want("error:pool default: 3 of 3 addresses in use", "default/d")
	d.release("default/b")
	d.want("192.168.1.161", "default/d")
	if d.Release("default/b") {
		t.Errorf("released twice")
	}
}

func TestAllocateRangeOrder(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.9/32 10.0.0.5/32 fd00::9/128 10.0.0.7/32"))
	d.want("10.0.0.9", "default/a")
	d.want("10.0.0.5", "default/b")
	d.want("10.0.0.7", "default/c")
	d.release("default/b")
	d.release("default/a")
	d.want("10.0.0.9", "default/d")
	d.want("10.0.0.5", "default/e")
	d.want("error:pool default: 3 of 3 IPv4 addresses in use", "default/f")
}

func TestPoolOrder(t *testing.T) {
	d := newDesk(t,
		pool("last", "10.0.0.1/32"),
		pool("second", "10.0.0.2/32", "priority=20"),
		pool("own", "10.0.0.3/32", "namespace=web"),
		pool("first", "10.0.0.4/32", "priority=10"),
		pool("own-too", "10.0.0.5/32", "team=x"))
	for i, want := range []string{"10.0.0.4", "10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.1"} {
		d.want(want, fmt.Sprintf("web/%d", i), "team=x")
	}
	d.want("error:pool first: 1 of 1 addresses in use; pool second: 1 of 1 addresses in use; "+
		"pool own: not for namespace shop; pool own-too: not for namespace shop; pool last: 1 of 1 addresses in use", "shop/a")
}

func TestSelectors(t *testing.T) {
	d := newDesk(t,
		pool("a", "10.0.0.1-10.0.0.9", "namespace=web", "team=x"),
		pool("b", "10.0.1.1-10.0.1.9", "app=db", "app=cache"),
		pool("c", "10.0.2.1-10.0.2.9", "namespace=web", "app=db"))
	d.want("10.0.0.1", "web/a")
	d.want("10.0.0.2", "shop/a", "team=x")
	d.want("10.0.1.1", "shop/b", "app=cache")
	d.want("error:pool a: not for namespace shop; pool b: not for a Service with these labels; pool c: not for namespace shop",
		"shop/c")
	d.want("10.0.2.1", "web/b", "app=db", "pool=c")
	d.want("error:pool c: not for a Service with these labels", "web/c", "pool=c")
	d.want("error:address 10.0.2.5: pool c: not for namespace shop", "shop/d", "app=db", "addr=10.0.2.5")
	d.want("10.0.0.1", "web/a", "team=y") // an edit of labels takes nothing away
	d.want("10.0.0.2", "shop/a")
	d.want("10.0.0.2 error:pool a: not for namespace shop; pool b: not for a Service with these labels; "+
		"pool c: not for namespace shop", "shop/a", "reallocate")
	d.settled("10.0.1.2 left:10.0.0.2", "shop/a", "reallocate", "app=db")
}

func TestNoPools(t *testing.T) {
	d := newDesk(t)
	d.want("error:no address pool is configured", "default/a")
	d.want("error:pool gold: not configured", "default/a", "pool=gold")
	d.want("error:pool gold: not configured", "default/a", "pool=gold", "addr=10.0.0.1")
	d.want("error:address 10.0.0.1: in no pool", "default/a", "addr=10.0.0.1")
	got, err := d.Allocate(ipam.Request{Service: "default/a"})
	if err == nil || err.Error() != "the Service has no IP family" {
		t.Errorf("no family: got %v, %v", got, err)
	}
	if _, ok := d.Held("default/a"); ok {
		t.Errorf("a refused Service holds something")
	}
}

func TestRequestedPool(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/30"), pool("gold", "10.0.1.0/31", "manual"))
	d.want("10.0.1.0", "default/a", "pool=gold")
	d.want("10.0.0.0", "default/b")
	d.settled("10.0.1.1 left:10.0.0.0", "default/b", "pool=gold")
	d.want("10.0.0.0", "default/c")
	d.want("10.0.0.0 error:pool gold: 2 of 2 addresses in use", "default/c", "pool=gold") // keeps what it has
	d.release("default/a")
	d.settled("10.0.1.0 left:10.0.0.0", "default/c", "pool=gold")
	d.want("10.0.1.0", "default/c") // without the annotation it stays
	d.want("10.0.1.0 error:pool silver: not configured", "default/c", "pool=silver")
}

func TestManualPoolOnlyOnRequest(t *testing.T) {
	d := newDesk(t, pool("manual", "10.0.0.0/24 fd00::/120", "manual"))
	const refused = "error:pool manual: only on request (auto-assign: false)"
	d.want(refused, "default/a")
	d.want(refused, "default/a", "v6")
	d.want(refused, "default/a", "dual")
	d.want("10.0.0.7", "default/a", "addr=10.0.0.7")
	d.want("10.0.0.0 fd00::", "default/b", "dual", "pool=manual")
	d.want("10.0.0.7 error:pool manual: only on request (auto-assign: false)", "default/a", "dual", "addr=10.0.0.7")
}

func TestRequestedAddress(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/24"), pool("buggy", "10.0.1.0/24", "avoid-buggy"))
	d.want("10.0.0.5", "default/a", "addr=10.0.0.5")
	d.want("10.0.0.6", "default/b", "addr=::ffff:10.0.0.6")
	d.want("10.0.0.6 error:address 10.0.0.5: in use by default/a, not shared", "default/b", "addr=10.0.0.5")
	d.settled("10.0.0.7 left:10.0.0.6", "default/b", "addr=10.0.0.7")
	d.want("10.0.0.7", "default/b") // without the request it stays
	d.want("error:address 10.0.9.9: in no pool", "default/c", "addr=10.0.9.9")
	d.want("error:address 10.0.1.255: avoided by pool buggy (avoid-buggy-ips)", "default/c", "addr=10.0.1.255")
	d.want("10.0.1.254", "default/c", "addr=10.0.1.254", "pool=buggy")
	d.want("error:address 10.0.0.9: in pool default, not in the requested pool buggy",
		"default/d", "addr=10.0.0.9", "pool=buggy")
	d.want("error:address fd00::1: the Service has no IPv6", "default/d", "addr=fd00::1")
	d.want("error:address 10.0.0.9: a second IPv4 address is requested", "default/d", "addr=10.0.0.8", "addr=10.0.0.9")
}

func TestSwapAddresses(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/24"))
	d.want("10.0.0.0", "default/a")
	d.want("10.0.0.1", "default/b")
	d.want("10.0.0.0 error:address 10.0.0.1: in use by default/b, not shared", "default/a", "addr=10.0.0.1")
	d.want("10.0.0.2 left:10.0.0.1", "default/b", "addr=10.0.0.2")
	d.want("10.0.0.0 error:address 10.0.0.1: in use by default/b, not shared", "default/a", "addr=10.0.0.1")
	if !d.Confirm("default/b", []netip.Addr{netip.MustParseAddr("10.0.0.2")}) {
		t.Errorf("confirming a move freed nothing")
	}
	d.settled("10.0.0.1 left:10.0.0.0", "default/a", "addr=10.0.0.1")
	d.settled("10.0.0.0 left:10.0.0.2", "default/b", "addr=10.0.0.0")
}

// TestFailedStatusWrite checks that an address that a status may still show is nobody else's, and is gone back to.
func TestFailedStatusWrite(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/31"), pool("gold", "10.0.1.0/32", "manual"))
	d.settled("10.0.0.0", "default/a")
	d.want("10.0.1.0 left:10.0.0.0", "default/a", "pool=gold")
	if got := d.Holders(netip.MustParseAddr("10.0.0.0")); !cmp.Equal(got, []string{"default/a"}) {
		t.Errorf("holders of an address that was left: %v", got)
	}
	d.want("10.0.0.1", "default/b")
	d.want("error:pool default: 2 of 2 addresses in use; pool gold: only on request (auto-assign: false)", "default/c")
	if d.Confirm("default/a", []netip.Addr{netip.MustParseAddr("10.0.0.0")}) {
		t.Errorf("an address that the status shows came free")
	}
	d.settled("10.0.0.0 left:10.0.1.0", "default/a", "pool=default") // back, though it was left
	d.want("10.0.1.0", "default/c", "pool=gold")
	if d.Confirm("default/z", nil) {
		t.Errorf("an unknown Service freed something")
	}
}

func TestSharing(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/31"))
	d.want("10.0.0.0", "default/a", "key=k", "tcp=80")
	d.want("10.0.0.0", "default/b", "key=k", "tcp=443")
	d.want("10.0.0.0", "other/c", "key=k", "udp=80")
	d.want("10.0.0.1", "default/d", "key=k", "tcp=80")
	d.want("10.0.0.1", "default/e", "key=k", "tcp=443", "udp=80")
	d.want("error:pool default: 2 of 2 addresses in use, none that it may share", "default/f", "key=k", "tcp=80")
	d.want("error:pool default: 2 of 2 addresses in use, none that it may share", "default/f", "key=other", "tcp=81")
	d.want("error:pool default: 2 of 2 addresses in use, none that it may share", "default/f", "key=k", "backend=x", "tcp=81")
	d.want("error:pool default: 2 of 2 addresses in use", "default/f", "tcp=81")
	d.want("10.0.0.0", "default/f", "key=k", "tcp=81")
	d.want("error:address 10.0.0.0: port TCP/80 is in use by default/a", "default/g", "key=k", "tcp=80", "addr=10.0.0.0")
	d.want("error:address 10.0.0.0: in use by default/a, whose sharing key differs", "default/g", "key=x", "addr=10.0.0.0")
	d.want("error:address 10.0.0.0: in use by default/a, whose external traffic policy or selector differs",
		"default/g", "key=k", "backend=x", "addr=10.0.0.0")
	d.want("error:address 10.0.0.0: in use by default/a, not shared", "default/g", "addr=10.0.0.0")
	want := []string{"default/a", "default/b", "default/f", "other/c"}
	if diff := cmp.Diff(want, d.Holders(netip.MustParseAddr("10.0.0.0"))); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
	d.release("default/a") // leaves its port to the next, whether that asks for the address or not
	d.want("10.0.0.0", "default/g", "key=k", "tcp=80", "addr=10.0.0.0")
	d.release("default/g")
	d.want("10.0.0.0", "default/h", "key=k", "tcp=80")
}

// TestSharingEdits edits Services on a shared address: the one that edits itself into a conflict gives way.
func TestSharingEdits(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/31"))
	d.want("10.0.0.0", "default/a", "tcp=80")
	d.want("10.0.0.0 freed", "default/a", "key=k", "tcp=80") // others may join from now on
	d.want("10.0.0.0", "default/b", "key=k", "tcp=443")
	d.want("10.0.0.0 freed", "default/a", "key=k", "tcp=81")
	d.want("10.0.0.0", "default/c", "key=k", "tcp=80")
	d.settled("10.0.0.1 left:10.0.0.0", "default/b", "key=k", "tcp=81") // collides with a, and moves
	d.want("left:10.0.0.0 error:pool default: 2 of 2 addresses in use", "default/c", "tcp=80")
	d.want("10.0.0.0", "default/a", "key=k", "tcp=81") // the others stay
	if !d.Confirm("default/c", nil) {
		t.Errorf("the confirmed loss freed nothing")
	}
	d.want("10.0.0.0 freed", "default/a", "key=l", "tcp=81") // alone again: may change its key in place
	d.want("10.0.0.0", "default/c", "key=l", "tcp=80")
}

// TestSharingLowest checks MetalLB's order: the lowest address that is free or may be shared.
func TestSharingLowest(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.8/30 10.0.0.0/30"))
	d.want("10.0.0.8", "default/a")
	d.want("10.0.0.9", "default/b", "key=k", "tcp=80")
	d.release("default/a")
	d.want("10.0.0.8", "default/c", "key=k", "tcp=443") // free, and lower than the one to share
	d.want("10.0.0.8", "default/d", "key=k", "tcp=80")
	d.want("10.0.0.9", "default/e", "key=k", "tcp=443")
}

func TestDualStack(t *testing.T) {
	d := newDesk(t, pool("four", "10.0.0.0/31"), pool("both", "10.0.1.0/31 fd00::/127"), pool("six", "fd01::/127"))
	d.want("10.0.1.0 fd00::", "default/a", "dual") // one pool with both before two pools
	d.want("fd00::1 10.0.1.1", "default/b", "dual6")
	d.want("10.0.0.0 fd01::", "default/c", "dual") // else across pools
	d.want("10.0.0.1", "default/d")
	d.want("error:pool four: 2 of 2 addresses in use; pool both: 2 of 2 IPv4 addresses in use; pool six: no IPv4 addresses",
		"default/e", "dual")
	d.want("fd01::1 missing:pool four: 2 of 2 addresses in use; pool both: 2 of 2 IPv4 addresses in use; "+
		"pool six: no IPv4 addresses", "default/e", "dual", "prefer")
	d.want("10.0.0.1 error:pool four: no IPv6 addresses; pool both: 2 of 2 IPv6 addresses in use; "+
		"pool six: 2 of 2 addresses in use", "default/d", "dual")
	d.want("10.0.0.1 missing:pool four: no IPv6 addresses; pool both: 2 of 2 IPv6 addresses in use; "+
		"pool six: 2 of 2 addresses in use", "default/d", "dual", "prefer")
	d.release("default/a")
	d.want("10.0.0.1 fd00::", "default/d", "dual", "prefer") // gains the second, keeps the first
	d.want("fd01::1 10.0.1.0", "default/e", "dual6", "prefer", "addr=10.0.1.0")
}

func TestFamilyEdits(t *testing.T) {
	d := newDesk(t, pool("both", "10.0.0.0/30 fd00::/126"))
	d.want("10.0.0.0", "default/a")
	d.want("10.0.0.0 fd00::", "default/a", "dual")
	d.want("fd00:: 10.0.0.0", "default/a", "dual6")
	d.settled("fd00:: left:10.0.0.0", "default/a", "v6")
	d.settled("10.0.0.0 left:fd00::", "default/a")
	d.edit(pool("four", "10.0.0.0/30"))
	d.want("10.0.0.0 error:pool four: no IPv6 addresses", "default/a", "v6") // better than none until it can be met
}

func TestRequestedAddressesDualStack(t *testing.T) {
	d := newDesk(t, pool("both", "10.0.0.0/30 fd00::/126"))
	d.want("10.0.0.2 fd00::3", "default/a", "dual", "addr=fd00::3", "addr=10.0.0.2")
	d.want("10.0.0.3 fd00::", "default/b", "dual", "addr=10.0.0.3") // the other family as usual
	d.want("error:address 10.0.0.3: in use by default/b, not shared", "default/c", "dual", "addr=10.0.0.3", "addr=fd00::1")
	d.want("fd00::1 missing:address 10.0.0.3: in use by default/b, not shared",
		"default/c", "dual", "prefer", "addr=10.0.0.3", "addr=fd00::1")
}

func TestAvoidBuggyIPs(t *testing.T) {
	d := newDesk(t, pool("a", "10.0.0.254-10.0.1.1 10.0.2.0/32 10.0.3.255/32 10.0.4.255-10.0.5.1", "avoid-buggy"))
	for i, want := range []string{"10.0.0.254", "10.0.1.1", "10.0.5.1"} {
		d.want(want, fmt.Sprintf("default/%d", i))
	}
	d.want("error:pool a: 3 of 3 addresses in use", "default/x")
	d.edit(pool("a", "10.0.0.254-10.0.1.1"))
	d.want("10.0.0.255", "default/x")
	d.want("10.0.1.0", "default/y")
	d.edit(pool("a", "10.0.0.254-10.0.1.1", "avoid-buggy"))
	d.want("10.0.0.255 stranded:10.0.0.255", "default/x")
	want := map[string][]netip.Addr{
		"default/2": {netip.MustParseAddr("10.0.5.1")},
		"default/x": {netip.MustParseAddr("10.0.0.255")},
		"default/y": {netip.MustParseAddr("10.0.1.0")},
	}
	if diff := cmp.Diff(want, d.Stranded(), equateAddrs); diff != "" {
		t.Errorf("stranded (-want +got):\n%s", diff)
	}
}

// TestPoolEdits shrinks, renames, splits and removes pools under a Service.
func TestPoolEdits(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/24"))
	d.want("10.0.0.9", "default/a", "addr=10.0.0.9")
	pools := func() string {
		held, _ := d.Held("default/a")
		return strings.Join(held.Pools, " ")
	}
	for _, tt := range []struct {
		name  string
		pools []ipam.Pool
		want  string // answer
		label string
	}{
		{"renamed", []ipam.Pool{pool("new", "10.0.0.0/24")}, "10.0.0.9", "new"},
		{"split", []ipam.Pool{pool("low", "10.0.0.0/29"), pool("high", "10.0.0.8/29")}, "10.0.0.9", "high"},
		{"names swapped", []ipam.Pool{pool("high", "10.0.0.0/29"), pool("low", "10.0.0.8/29")}, "10.0.0.9", "low"},
		{"manual now", []ipam.Pool{pool("low", "10.0.0.8/29", "manual")}, "10.0.0.9", "low"},
		{"for others now", []ipam.Pool{pool("low", "10.0.0.8/29", "namespace=web")}, "10.0.0.9", "low"},
		{"shrunk", []ipam.Pool{pool("low", "10.0.0.10/31")}, "10.0.0.9 stranded:10.0.0.9", "low"},
		{"removed", nil, "10.0.0.9 stranded:10.0.0.9", "low"},
		{"back", []ipam.Pool{pool("default", "10.0.0.0/24")}, "10.0.0.9", "default"},
	} {
		d.edit(tt.pools...)
		d.want(tt.want, "default/a")
		if got := pools(); got != tt.label {
			t.Errorf("%s: pool %q, want %q", tt.name, got, tt.label)
		}
	}
	d.edit(pool("other", "10.0.1.0/24"))
	d.want("10.0.0.9 stranded:10.0.0.9", "default/a")
	d.settled("10.0.1.0 left:10.0.0.9", "default/a", "reallocate")
	d.settled("10.0.1.0", "default/a", "reallocate") // once is enough
}

// TestPoolEditUnderRequestedPool edits the pool that a Service asks for: only its user makes it move.
func TestPoolEditUnderRequestedPool(t *testing.T) {
	d := newDesk(t, pool("gold", "10.0.0.0/31"), pool("silver", "10.0.1.0/31"))
	d.want("10.0.0.0", "default/a", "pool=gold")
	d.edit(pool("gold", "10.0.2.0/31"), pool("silver", "10.0.0.0/31"))
	d.want("10.0.0.0", "default/a", "pool=gold") // lies in silver now
	d.edit(pool("gold", "10.0.2.0/31"))
	d.want("10.0.0.0 stranded:10.0.0.0", "default/a", "pool=gold")

	again := newDesk(t, pool("gold", "10.0.2.0/31")) // and after a restart
	held := []netip.Addr{netip.MustParseAddr("10.0.0.0")}
	if err := again.Adopt(request("default/a", "pool=gold", "from=gold"), held); err != nil {
		t.Fatalf("adopt: %v", err)
	}
	again.want("10.0.0.0 stranded:10.0.0.0", "default/a", "pool=gold")
	d.settled("10.0.2.0 left:10.0.0.0", "default/a", "pool=gold", "reallocate")
}

// TestRestartWhileWaiting checks that a wish that couldn't be met is still one after a restart.
func TestRestartWhileWaiting(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/31"), pool("gold", "10.0.1.0/32", "manual"))
	held := []netip.Addr{netip.MustParseAddr("10.0.0.0")}
	if err := d.Adopt(request("default/a", "pool=gold", "from=default"), held); err != nil {
		t.Fatalf("adopt: %v", err)
	}
	d.want("10.0.1.0 left:10.0.0.0", "default/a", "pool=gold")
}

func TestAdopt(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/30 fd00::/126"))
	addrs := func(texts ...string) []netip.Addr {
		list := make([]netip.Addr, len(texts))
		for i, text := range texts {
			list[i] = netip.MustParseAddr(text)
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		req   ipam.Request
		addrs []netip.Addr
		want  string // error
	}{
		{"in a pool", request("default/a", "key=k", "tcp=80"), addrs("10.0.0.1"), ""},
		{"in no pool", request("default/b"), addrs("192.0.2.1"), ""},
		{"nothing", request("default/c"), []netip.Addr{{}}, ""},
		{"mapped, with zone", request("default/d", "dual"), addrs("::ffff:10.0.0.3", "fd00::3%eth0"), ""},
		{"shared", request("default/e", "key=k", "tcp=81"), addrs("10.0.0.1"), ""},
		{
			"held", request("default/f", "dual", "key=k", "tcp=80"), addrs("10.0.0.1", "fd00::1"),
			"adopt 10.0.0.1 for default/f: port TCP/80 is in use by default/a",
		},
		{
			"both held", request("default/g", "dual"), addrs("10.0.0.3", "fd00::3"),
			"adopt 10.0.0.3 for default/g: in use by default/d, not shared\n" +
				"adopt fd00::3 for default/g: in use by default/d, not shared",
		},
	} {
		err := d.Adopt(tt.req, tt.addrs)
		if got := fmt.Sprint(err); got != tt.want && (err != nil || tt.want != "") {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		var conflict *ipam.ConflictError
		if err != nil && (!errors.As(err, &conflict) || conflict.Service != tt.req.Service) {
			t.Errorf("%s: no *ConflictError for %s in %v", tt.name, tt.req.Service, err)
		}
	}
	d.want("10.0.0.1", "default/a", "key=k", "tcp=80")
	d.want("192.0.2.1 stranded:192.0.2.1", "default/b")
	d.want("10.0.0.0", "default/c")
	d.want("10.0.0.3 fd00::3", "default/d", "dual")
	d.want("10.0.0.2 fd00::1 freed", "default/f", "dual", "key=k", "tcp=82", "addr=10.0.0.2")
}

func TestAdoptTooMany(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/29"))
	odd := []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.2")}
	if err := d.Adopt(request("default/a"), odd); err != nil {
		t.Fatalf("adopt: %v", err)
	}
	d.settled("10.0.0.5 left:10.0.0.2", "default/a") // the first of a family stays
}

func TestUsage(t *testing.T) {
	d := newDesk(t, pool("a", "10.0.0.0/30 fd00::/126"), pool("b", "10.0.1.0/30"), pool("c", "fd01::/48"))
	usage := func(inUse, services int) []ipam.PoolUsage {
		return []ipam.PoolUsage{
			{Pool: "a", Family: ipam.IPv4, Total: 4, InUse: uint64(inUse), Services: services},
			{Pool: "a", Family: ipam.IPv6, Total: 4},
			{Pool: "b", Family: ipam.IPv4, Total: 4},
			{Pool: "c", Family: ipam.IPv6, Total: 1<<63 - 1},
		}
	}
	check := func(inUse, services int) {
		t.Helper()
		if diff := cmp.Diff(usage(inUse, services), d.Usage()); diff != "" {
			t.Errorf("usage (-want +got):\n%s", diff)
		}
	}
	d.want("10.0.0.0", "default/a")
	check(1, 1)
	d.want("10.0.0.1", "default/b", "key=k", "tcp=80")
	check(2, 2)
	d.want("10.0.0.1", "default/c", "key=k", "tcp=81")
	d.want("10.0.0.1", "default/d", "key=k", "tcp=82")
	check(2, 4)
	d.release("default/a")
	check(1, 3)
	for _, name := range []string{"default/b", "default/c", "default/d"} {
		d.release(name)
	}
	check(0, 0)
}

// TestHugeRanges goes to the places of a range that no scan would reach.
func TestHugeRanges(t *testing.T) {
	for _, text := range []string{"::/0", "fd00::/8", "fd00::/48", "fd00::/64", "0.0.0.0/0"} {
		r := mustRange(t, text)
		d := newDesk(t, pool("default", text))
		family := "v6"
		if r.Family() == ipam.IPv4 {
			family = "addr=" + r.From.String() // no word for IPv4 alone
		}
		d.want(r.From.String(), "default/first", family)
		req := request("default/last", "addr="+r.To.String(), "key=k", "tcp=80")
		req.Families = []ipam.Family{r.Family()}
		for _, service := range []string{"default/last", "default/last"} {
			req.Service = service
			if alloc, err := d.Allocate(req); err != nil || alloc.Addrs[0] != r.To {
				t.Errorf("%s: last address: got %v, %v", text, alloc.Addrs, err)
			}
		}
		req.Service, req.Ports = "default/shares-it", []ipam.Port{{Protocol: "TCP", Port: 81}}
		if alloc, err := d.Allocate(req); err != nil || alloc.Addrs[0] != r.To {
			t.Errorf("%s: sharing the last address: got %v, %v", text, alloc.Addrs, err)
		}
		req.Service, req.Addrs = "default/next", nil
		if alloc, err := d.Allocate(req); err != nil || alloc.Addrs[0] != r.From.Next() {
			t.Errorf("%s: next: got %v, %v", text, alloc.Addrs, err)
		}
		d.release("default/last")
		d.release("default/shares-it")
		if n := d.Usage()[0].InUse; n != 2 {
			t.Errorf("%s: %d addresses in use, want 2", text, n)
		}
	}
}

func TestSetPoolsRefuses(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/30"))
	addr := netip.MustParseAddr
	reversed := ipam.Pool{Name: "a", Ranges: []ipam.Range{{From: addr("10.0.0.2"), To: addr("10.0.0.1")}}}
	mixed := ipam.Pool{Name: "a", Ranges: []ipam.Range{{From: addr("10.0.0.2"), To: addr("fd00::1")}}}
	mapped := ipam.Pool{Name: "a", Ranges: []ipam.Range{{From: addr("::ffff:10.0.0.2"), To: addr("::ffff:10.0.0.2")}}}
	for _, tt := range []struct {
		name  string
		pools []ipam.Pool
	}{
		{"no name", []ipam.Pool{pool("", "10.0.0.0/30")}},
		{"same name", []ipam.Pool{pool("a", "10.0.0.0/30"), pool("a", "10.0.1.0/30")}},
		{"overlap", []ipam.Pool{pool("a", "10.0.0.0/30"), pool("b", "10.0.0.3/32")}},
		{"overlap inside a pool", []ipam.Pool{pool("a", "10.0.0.0/30 10.0.0.3/32")}},
		{"zero range", []ipam.Pool{{Name: "a", Ranges: []ipam.Range{{}}}}},
		{"reversed", []ipam.Pool{reversed}},
		{"mixed", []ipam.Pool{mixed}},
		{"mapped", []ipam.Pool{mapped}},
	} {
		if err := d.SetPools(tt.pools); err == nil {
			t.Errorf("%s: accepted", tt.name)
		}
	}
	d.want("10.0.0.0", "default/a") // the former pools serve
}

// TestRequestIsCopied checks that a caller may use its slices again.
func TestRequestIsCopied(t *testing.T) {
	d := newDesk(t, pool("default", "10.0.0.0/32"))
	req := request("default/a", "key=k", "tcp=80")
	if _, err := d.Allocate(req); err != nil {
		t.Fatalf("allocate: %v", err)
	}
	req.Ports[0].Port, req.Families[0] = 81, ipam.IPv6
	d.want("error:pool default: 1 of 1 addresses in use, none that it may share", "default/b", "key=k", "tcp=80")
	d.want("10.0.0.0", "default/c", "key=k", "tcp=81")
}

// TestMemory checks that memory follows the addresses in use, not the size of the pool.
func TestMemory(t *testing.T) {
	const most = 1500 // bytes for each Service, its name and ports included
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, text := range []string{"10.0.0.0/8", "fd00::/64", "::/0"} {
		before := heap()
		a, _ := filled(t, text, 10000)
		if each := (heap() - before) / 10000; each > most {
			t.Errorf("%s: %d bytes for each Service, more than %d", text, each, most)
		} else {
			t.Logf("%s: %d bytes for each Service", text, each)
		}
		for i := range 10000 {
			a.Release(fmt.Sprintf("default/svc-%d", i))
		}
		if n := a.Usage()[0].InUse; n != 0 {
			t.Errorf("%s: %d addresses in use after all were released", text, n)
		}
	}
}

func TestFamily(t *testing.T) {
	for _, tt := range []struct {
		addr netip.Addr
		want string
	}{
		{netip.Addr{}, "no family"},
		{netip.MustParseAddr("10.0.0.1"), "IPv4"},
		{netip.MustParseAddr("::ffff:10.0.0.1"), "IPv4"},
		{netip.MustParseAddr("fd00::1"), "IPv6"},
	} {
		if got := ipam.FamilyOf(tt.addr).String(); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.addr, got, tt.want)
		}
	}
}
