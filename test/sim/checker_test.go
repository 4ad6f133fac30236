package main

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"testing"

	"github.com/invar-lb/invar/pkg/election"
)

// hoarder never stops answering for what it has once held.
type hoarder struct {
	*election.Node
	held map[netip.Addr]bool
}

func (h hoarder) Decide(v election.View) election.Decision {
	d := h.Node.Decide(v)
	for _, a := range d.Hold {
		h.held[a] = true
	}
	for a := range h.held {
		if !slices.Contains(d.Hold, a) {
			d.Hold = append(d.Hold, a)
		}
	}
	return d
}

// idler claims nothing.
type idler struct{ *election.Node }

func (i idler) Decide(v election.View) election.Decision {
	d := i.Node.Decide(v)
	d.Hold = slices.DeleteFunc(d.Hold, func(a netip.Addr) bool {
		return slices.ContainsFunc(d.Claims, func(c election.Claim) bool { return c.Addr == a })
	})
	d.Claims = nil
	return d
}

// usurper takes each address that ranks it first, whoever holds it.
type usurper struct {
	*election.Node
	name string
}

func (u usurper) Decide(v election.View) election.Decision {
	d := u.Node.Decide(v)
	for _, a := range v.Addresses {
		first := slices.MinFunc(slices.Concat(a.Eligible, []string{u.name}), func(x, y string) int {
			return cmp.Compare(election.Rank(a.Addr, x), election.Rank(a.Addr, y))
		})
		if c := v.Claims[a.Addr]; d.Doubt.Cause == "" && first == u.name && c.Node != "" && c.Node != u.name {
			d.Claims = append(d.Claims, v.Claims.Next(a.Addr, u.name))
			d.Hold = append(d.Hold, a.Addr)
		}
	}
	return d
}

// glutton claims all that nobody holds.
type glutton struct {
	*election.Node
	name string
}

func (g glutton) Decide(v election.View) election.Decision {
	v.Addresses = slices.Clone(v.Addresses)
	for i, a := range v.Addresses {
		if v.Claims[a.Addr].Node == "" && slices.Contains(a.Eligible, g.name) {
			v.Addresses[i].Eligible = []string{g.name}
		}
	}
	return g.Node.Decide(v)
}

// TestCheckerCatches puts deciders with a bug in the place of election.Node and requires that the checker finds it.
func TestCheckerCatches(t *testing.T) {
	node := func(name string) *election.Node { return election.NewNode(name, pauseLimit) }
	tests := []struct {
		name    string
		newNode func(name string) decider
		want    string
	}{
		{
			"never withdraws", func(name string) decider { return hoarder{node(name), map[netip.Addr]bool{}} },
			`^two nodes have answered for address`,
		},
		{"never claims", func(name string) decider { return idler{node(name)} }, `after the last change .* have no holder`},
		{"takes back", func(name string) decider { return usurper{node(name), name} }, `takes address .* without a cause`},
		{"takes all", func(name string) decider { return glutton{node(name), name} }, `^one node holds \d+ addresses and another`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found := map[string]bool{}
			for seed := uint64(1); seed <= 200; seed++ {
				out := replay(seed, options{profile: measures, newNode: tt.newNode})
				if out.violation == nil {
					continue
				}
				if regexp.MustCompile(tt.want).MatchString(out.violation.what) {
					return
				}
				found[out.violation.what] = true
			}
			t.Errorf("nothing found but %v, want %s", found, tt.want)
		})
	}
}
