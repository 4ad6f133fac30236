package config

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/invar-lb/invar/pkg/ipam"
)

// A place is a range and where it stands.
type place struct {
	ipam.Range
	at   value
	pool string
	rank int // position in the text
}

// addresses reads the ranges of a pool.
func (r *reader) addresses(p *readPool, v value, fields map[string]value) {
	field := fields["addresses"]
	items := r.list(field)
	if at := r.missing(v, fields, "addresses"); len(items) == 0 && (at.isNull() || at.kind() == "a list") {
		r.fail(at, "every pool needs at least one address range, such as 192.168.1.160-192.168.1.169")
	}
	bad, usable := false, false
	for _, item := range items {
		before := len(r.errs)
		text := r.text(item)
		if len(r.errs) > before {
			bad = true
			continue
		}
		parsed, err := ipam.ParseRange(text)
		if rangeErr := (*ipam.RangeError)(nil); errors.As(err, &rangeErr) {
			r.fail(item, "%s", rangeErr.Reason)
			bad = true
			continue
		}
		r.checkSense(item, parsed, p.AvoidBuggyIPs)
		usable = usable || parsed.Capacity(p.AvoidBuggyIPs) > 0
		p.Ranges = append(p.Ranges, parsed)
		p.places = append(p.places, place{Range: parsed, at: item, pool: p.Name})
	}
	if len(items) > 0 && !bad && !usable {
		r.fail(field, "avoid-buggy-ips leaves nothing of these addresses; add others or remove avoid-buggy-ips")
	}
}

// oddRanges are addresses that no LAN can reach, with what they are.
var oddRanges = []struct {
	what string
	ipam.Range
}{
	{"\"this network\"", between("0.0.0.0", "0.255.255.255")},
	{"loopback", between("127.0.0.0", "127.255.255.255")},
	{"multicast", between("224.0.0.0", "239.255.255.255")},
	{"reserved", between("240.0.0.0", "255.255.255.255")},
	{"unspecified or loopback", between("::", "::1")},
	{"link-local", between("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff")},
	{"multicast", between("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")},
}

// between returns the range of two addresses.
func between(from, to string) ipam.Range {
	return ipam.Range{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to)}
}

// checkSense notes a range that is allowed but can hardly be meant.
func (r *reader) checkSense(at value, rng ipam.Range, avoidBuggyIPs bool) {
	for _, odd := range oddRanges {
		if odd.Overlaps(rng) {
			r.note(Notice, at, "contains %s addresses (%s), which clients can't reach", odd.what, odd.Range)
			break
		}
	}
	if rng.Capacity(avoidBuggyIPs) == 0 {
		r.note(Notice, at, "avoid-buggy-ips leaves nothing of this range")
	}
}

// overlaps notes every range that has an address in common with one before it in the text, of whatever pool. Sorting
// makes that n log n: a range overlaps an earlier one in address order only if it overlaps the one that reaches
// furthest.
func (r *reader) overlaps(pools []readPool) {
	var places []place
	for _, p := range pools {
		for _, pl := range p.places {
			pl.rank = len(places)
			places = append(places, pl)
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return a.From.Compare(b.From) })
	for i, furthest := 1, 0; i < len(places); i++ {
		a, b := places[furthest], places[i]
		if a.Overlaps(b.Range) {
			if a.rank > b.rank {
				a, b = b, a
			}
			r.pool = b.pool
			r.fail(b.at, "overlaps %s, %s; an address belongs to one range only", a.Range, a.describe())
			r.pool = ""
		}
		if places[furthest].To.Less(places[i].To) {
			furthest = i
		}
	}
}
