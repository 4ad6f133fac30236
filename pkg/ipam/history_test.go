package ipam_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/ipam"
)

// equateAddrs lets cmp compare addresses.
var equateAddrs = cmpopts.EquateComparable(netip.Addr{})

// A history drives the Allocator and its slow twin through the same random operations.
type history struct {
	*testing.T
	rng     *rand.Rand
	real    *ipam.Allocator
	model   *model
	pools   []ipam.Pool
	waiting map[string]ipam.Request // Services that want more than they have
	steps   []string
}

// histories is how many random histories are tried; each seed replays the same one.
var histories = flag.Int("histories", 30, "number of random histories")

// services are the Services of a history.
var services = []string{"a/1", "a/2", "a/3", "b/1", "b/2", "b/3", "b/4", "c/1", "c/2", "c/3"}

// TestHistories compares the Allocator with its twin after every operation of many random histories.
func TestHistories(t *testing.T) {
	const steps = 250
	for seed := range *histories {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			h := &history{T: t, rng: rand.New(rand.NewPCG(uint64(seed), 1)), real: ipam.New(), model: newModel()}
			h.waiting = map[string]ipam.Request{}
			h.setPools()
			for range steps {
				h.step()
			}
		})
	}
}

// step does one random operation and checks everything afterwards.
func (h *history) step() {
	before := h.snapshot()
	woken := false
	switch h.rng.IntN(12) {
	case 0:
		h.setPools()
		woken = true
	case 1:
		h.restart()
		woken = true
	case 2, 3:
		woken = h.release()
	case 4, 5, 6:
		woken = h.confirm()
	default:
		woken = h.allocate(before)
	}
	for woken {
		woken = h.wake()
	}
	h.compare()
	h.checkShares()
	h.checkNobodyMissedOut()
}

// wake tries every Service that waits again, as the controller does when something came free, and reports whether
// that freed something in turn.
func (h *history) wake() bool {
	woken := false
	for _, name := range services {
		if req, ok := h.waiting[name]; ok {
			h.log("retry %s", name)
			woken = h.allocateOnce(req, h.snapshot()) || woken
		}
	}
	return woken
}

// log notes a step, so that a failure tells the whole history.
func (h *history) log(format string, args ...any) {
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
}

// fail ends the test with the last steps.
func (h *history) fail(format string, args ...any) {
	h.Helper()
	h.Fatalf("%s\nlast steps:\n%s", fmt.Sprintf(format, args...), strings.Join(h.steps[max(0, len(h.steps)-12):], "\n"))
}

// setPools changes the pools and checks that nobody's addresses change.
func (h *history) setPools() {
	before := h.snapshot()
	h.pools = randomPools(h.rng)
	h.log("set pools %v", h.pools)
	if err := h.real.SetPools(h.pools); err != nil {
		h.fail("set pools: %v", err)
	}
	h.model.setPools(h.pools)
	if diff := cmp.Diff(before, h.snapshot(), equateAddrs); diff != "" {
		h.fail("an edit of the pools changed who holds what (-before +after):\n%s", diff)
	}
}

// restart starts again from what the Services' statuses show, in random order. Sometimes the statuses were edited
// by hand: then a Service shows an address that another one has.
func (h *history) restart() {
	before := h.snapshot()
	edited := h.rng.IntN(3) == 0
	if edited {
		from, to := services[h.rng.IntN(len(services))], services[h.rng.IntN(len(services))]
		for _, u := range h.model.clone().uses {
			if u.service == from && h.model.wishes[to].Service != "" && !slices.Contains(h.model.holders(u.addr), to) {
				h.model.uses = append(h.model.uses, modelUse{service: to, addr: u.addr, req: h.model.wishes[to]})
			}
		}
	}
	h.log("restart, edited by hand: %v", edited)
	if edited {
		before = nil
	}
	old := h.model
	h.real, h.model = ipam.New(), newModel()
	if h.rng.IntN(2) == 0 { // the pools may come before or after the Services
		h.applyPools()
		defer h.adoptAll(old, before)
		return
	}
	h.adoptAll(old, before)
	h.applyPools()
}

// applyPools hands the pools to a new Allocator.
func (h *history) applyPools() {
	if err := h.real.SetPools(h.pools); err != nil {
		h.fail("set pools: %v", err)
	}
	h.model.setPools(h.pools)
}

// adoptAll adopts what every Service of old holds.
func (h *history) adoptAll(old *model, before map[string][]netip.Addr) {
	names := slices.Clone(services)
	h.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, name := range names {
		req, known := old.wishes[name]
		held := old.held(name)
		if !known || len(held.Addrs) == 0 {
			continue
		}
		for _, u := range old.uses { // what it edited while it was refused isn't in its status but in its spec
			if u.service == name && !u.leaving {
				req.Ports, req.SharingKey, req.BackendKey = u.req.Ports, u.req.SharingKey, u.req.BackendKey
			}
		}
		req.FromPools = held.Pools
		h.adopt(req, held.Addrs)
		if diff := cmp.Diff(before[name], h.heldAddrs(name), equateAddrs); before != nil && diff != "" {
			h.fail("restart changed what %s holds (-before +after):\n%s", name, diff)
		}
	}
}

// adopt lets both adopt and compares the errors.
func (h *history) adopt(req ipam.Request, addrs []netip.Addr) {
	h.log("adopt %s %v", show(req), addrs)
	var got []string
	if err := h.real.Adopt(req, addrs); err != nil {
		got = strings.Split(err.Error(), "\n")
	}
	if diff := cmp.Diff(h.model.adopt(req, addrs), got); diff != "" {
		h.fail("adopt %v (-want +got):\n%s", addrs, diff)
	}
}

// release releases a random Service.
func (h *history) release() bool {
	name := services[h.rng.IntN(len(services))]
	h.log("release %s", name)
	got, want := h.real.Release(name), h.model.release(name)
	if got != want {
		h.fail("release %s: got %v, want %v", name, got, want)
	}
	delete(h.model.wishes, name)
	delete(h.waiting, name)
	return got
}

// confirm tells that a random Service's status shows what it holds, or some of what it left.
func (h *history) confirm() bool {
	name := services[h.rng.IntN(len(services))]
	held := h.model.held(name)
	shown := held.Addrs
	if h.rng.IntN(4) == 0 {
		shown = held.Left
	}
	h.log("confirm %s %v", name, shown)
	got, want := h.real.Confirm(name, shown), h.model.confirm(name, shown)
	if got != want {
		h.fail("confirm %s: got %v, want %v", name, got, want)
	}
	return got
}

// allocate syncs a random Service, mostly after an edit, and repeats the call to see that it changes nothing.
func (h *history) allocate(before map[string][]netip.Addr) bool {
	name := services[h.rng.IntN(len(services))]
	req, known := h.model.wishes[name]
	if !known || h.rng.IntN(3) > 0 {
		req = randomRequest(h.rng, name, req, known)
	}
	h.log("allocate %s", show(req))
	woken := h.allocateOnce(req, before)
	after := h.snapshot()
	h.log("again")
	if h.allocateOnce(req, after) {
		h.fail("allocate %s: repeating it freed something", show(req))
	}
	if diff := cmp.Diff(after, h.snapshot(), equateAddrs); diff != "" {
		h.fail("allocate %s: repeating it moved something (-first +second):\n%s", show(req), diff)
	}
	return woken
}

// allocateOnce compares one allocation and checks that what was lost had a cause.
func (h *history) allocateOnce(req ipam.Request, before map[string][]netip.Addr) bool {
	conflicts := map[netip.Addr]bool{}
	for _, addr := range before[req.Service] {
		conflicts[addr] = h.model.conflict(req, addr) != ""
	}
	got, err := h.real.Allocate(req)
	want, met, text := h.model.allocate(req)
	gotText := ""
	var refusal *ipam.Refusal
	switch {
	case err != nil && !errors.As(err, &refusal):
		h.fail("allocate %s: error is a %T", show(req), err)
	case err != nil:
		gotText = err.Error()
	case got.Missing != nil:
		gotText = got.Missing.Error()
	}
	if met != (err == nil) || text != gotText {
		h.fail("allocate %s: met %v, %q; want %v, %q", show(req), err == nil, gotText, met, text)
	}
	got.Missing = nil
	if diff := cmp.Diff(want, got, equateAddrs, cmpopts.EquateEmpty()); diff != "" {
		h.fail("allocate %s (-want +got):\n%s", show(req), diff)
	}
	h.checkLosses(req, before, conflicts, met)
	delete(h.waiting, req.Service)
	if text != "" {
		h.waiting[req.Service] = req
	}
	return got.Freed
}

// checkLosses checks that addresses went for the causes of the package comment only, and from nobody else.
func (h *history) checkLosses(
	req ipam.Request, before map[string][]netip.Addr, conflicts map[netip.Addr]bool, met bool,
) {
	for name, addrs := range before {
		for _, addr := range addrs {
			kept := slices.Contains(h.heldAddrs(name), addr)
			f := ipam.FamilyOf(addr)
			pool := h.model.poolOf(addr)
			askedAnother := pinned(req, f).IsValid() && pinned(req, f) != addr ||
				req.Pool != "" && (pool == nil || pool.Name != req.Pool) ||
				!slices.Contains(req.Families, f)
			switch {
			case kept || name == req.Service && conflicts[addr]:
			case name == req.Service && met && (askedAnother || req.Reallocate):
			case name == req.Service && met && h.holdsAnother(name, f):
			default:
				h.fail("allocate %s: %s lost %s without a cause", show(req), name, addr)
			}
		}
	}
}

// holdsAnother reports whether a Service has an address of family f: it lost a second one then.
func (h *history) holdsAnother(name string, f ipam.Family) bool {
	return slices.ContainsFunc(h.heldAddrs(name), func(a netip.Addr) bool { return ipam.FamilyOf(a) == f })
}

// heldAddrs returns what the Allocator says that a Service holds.
func (h *history) heldAddrs(name string) []netip.Addr {
	alloc, _ := h.real.Held(name)
	return alloc.Addrs
}

// snapshot returns what every Service holds.
func (h *history) snapshot() map[string][]netip.Addr {
	held := map[string][]netip.Addr{}
	for _, name := range services {
		if addrs := h.heldAddrs(name); len(addrs) > 0 {
			held[name] = addrs
		}
	}
	return held
}

// compare compares everything that can be asked of the Allocator with its twin.
func (h *history) compare() {
	stranded := map[string][]netip.Addr{}
	holders, wantHolders := map[netip.Addr][]string{}, map[netip.Addr][]string{}
	for _, u := range h.model.uses {
		holders[u.addr], wantHolders[u.addr] = h.real.Holders(u.addr), h.model.holders(u.addr)
	}
	for _, name := range services {
		got, ok := h.real.Held(name)
		want := h.model.held(name)
		if ok != (len(want.Addrs) > 0) {
			h.fail("held %s: got %v", name, ok)
		}
		if diff := cmp.Diff(want, got, equateAddrs, cmpopts.EquateEmpty()); diff != "" {
			h.fail("held %s (-want +got):\n%s", name, diff)
		}
		if len(want.Stranded) > 0 {
			stranded[name] = slices.SortedFunc(slices.Values(want.Stranded), netip.Addr.Compare)
		}
	}
	for what, pair := range map[string][2]any{
		"usage":    {h.model.usage(), h.real.Usage()},
		"stranded": {stranded, h.real.Stranded()},
		"holders":  {wantHolders, holders},
	} {
		if diff := cmp.Diff(pair[0], pair[1], equateAddrs, cmpopts.EquateEmpty()); diff != "" {
			h.fail("%s (-want +got):\n%s", what, diff)
		}
	}
}

// checkShares checks, from what the Services asked for last, that no two are on one address that may not be.
func (h *history) checkShares() {
	for _, a := range services {
		for _, b := range services {
			for _, addr := range h.heldAddrs(a) {
				if a < b && slices.Contains(h.heldAddrs(b), addr) && !mayShare(h.model.wishes[a], h.model.wishes[b]) {
					h.fail("%s and %s share %s:\n%s\n%s", a, b, addr, show(h.model.wishes[a]), show(h.model.wishes[b]))
				}
			}
		}
	}
}

// mayShare is MetalLB's rule.
func mayShare(a, b ipam.Request) bool {
	for _, p := range a.Ports {
		if slices.Contains(b.Ports, p) {
			return false
		}
	}
	return a.SharingKey != "" && a.SharingKey == b.SharingKey && a.BackendKey == b.BackendKey
}

// checkNobodyMissedOut checks that no Service waits that could have more now: whatever helps it was reported as
// freed, and it was tried again then.
func (h *history) checkNobodyMissedOut() {
	for name, req := range h.waiting {
		twin := h.model.clone()
		before := twin.held(name).Addrs
		_, _, text := twin.allocate(req)
		if after := twin.held(name).Addrs; text == "" || len(after) > len(before) {
			h.fail("%s waited and could have more now, but nothing was said to be freed", name)
		}
	}
}

// show returns a request in a form that a human can read in a failure.
func show(r ipam.Request) string {
	return fmt.Sprintf("%s families=%v partial=%v addrs=%v pool=%q reallocate=%v ports=%v key=%q backend=%q ns=%v labels=%v",
		r.Service, r.Families, r.Partial, r.Addrs, r.Pool, r.Reallocate, r.Ports, r.SharingKey, r.BackendKey,
		r.NamespaceLabels, r.Labels)
}

// randomPools cuts a small space of each family into pieces and deals them to pools.
func randomPools(rng *rand.Rand) []ipam.Pool {
	pools := make([]ipam.Pool, rng.IntN(4))
	for i := range pools {
		pools[i] = ipam.Pool{Name: fmt.Sprintf("pool%d", i), AutoAssign: rng.IntN(5) > 0, Priority: rng.IntN(3)}
		pools[i].AvoidBuggyIPs = rng.IntN(3) == 0
		if rng.IntN(4) == 0 {
			pools[i].Namespaces = []string{"a"}
		}
		if rng.IntN(5) == 0 {
			pools[i].NamespaceSelectors = []ipam.Selector{{MatchLabels: map[string]string{"team": "x"}}}
		}
		if rng.IntN(5) == 0 {
			pools[i].ServiceSelectors = []ipam.Selector{{MatchLabels: map[string]string{"app": "web"}}}
		}
	}
	for _, base := range []string{"10.0.0.250", "10.0.1.250", "fd00::fffa"} {
		from := netip.MustParseAddr(base)
		for range 4 {
			to := from
			for range rng.IntN(4) {
				to = to.Next()
			}
			if i := rng.IntN(4); i < len(pools) {
				pools[i].Ranges = slices.Insert(pools[i].Ranges, rng.IntN(len(pools[i].Ranges)+1), ipam.Range{From: from, To: to})
			}
			from = to.Next()
		}
	}
	return slices.DeleteFunc(pools, func(p ipam.Pool) bool { // a checked configuration has no empty pools
		return len(addrsOf(p, ipam.IPv4)) == 0 && len(addrsOf(p, ipam.IPv6)) == 0 ||
			slices.ContainsFunc(p.Ranges, func(r ipam.Range) bool { return r.Capacity(p.AvoidBuggyIPs) == 0 })
	})
}

// randomRequest returns a Service's first request, or an edit of its last one.
func randomRequest(rng *rand.Rand, name string, req ipam.Request, known bool) ipam.Request {
	edit := func() bool { return !known || rng.IntN(4) == 0 }
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	req.Service, req.Namespace, req.FromPools = name, name[:1], nil
	if edit() {
		families := [][]ipam.Family{{ipam.IPv4}, {ipam.IPv4}, {ipam.IPv6}, {ipam.IPv4, ipam.IPv6}, {ipam.IPv6, ipam.IPv4}}
		req.Families, req.Partial = families[rng.IntN(len(families))], rng.IntN(2) == 0
	}
	if edit() {
		req.Labels = map[string]string{"app": pick("web", "db")}
		req.NamespaceLabels = map[string]string{"team": pick("x", "y")}
	}
	if edit() {
		req.Pool = pick("", "", "", "", "", "pool0", "pool1", "gone")
	}
	if edit() {
		req.Reallocate = rng.IntN(8) == 0
	}
	if edit() {
		req.SharingKey, req.BackendKey = pick("", "k", "k", "l"), pick("", "", "", "app=web")
	}
	if edit() {
		req.Ports = nil
		for _, p := range []uint16{80, 443, 53} {
			if rng.IntN(3) == 0 {
				req.Ports = append(req.Ports, ipam.Port{Protocol: pick("TCP", "UDP"), Port: p})
			}
		}
	}
	if edit() {
		req.Addrs = nil
		for _, f := range []string{"10.0.0.25%d", "10.0.1.25%d", "fd00::fff%x"} {
			if rng.IntN(8) == 0 {
				req.Addrs = append(req.Addrs, netip.MustParseAddr(fmt.Sprintf(f, rng.IntN(6))))
			}
		}
	}
	return req
}
