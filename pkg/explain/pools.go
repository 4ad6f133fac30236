package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/ipam"
)

// A PoolChange is what becomes of one pool.
type PoolChange struct {
	Name   string `json:"name"`
	Change Change `json:"change"`
	// Details are the keys that differ, for example "auto-assign: true, was false".
	Details []string `json:"details,omitempty"`
	// Before and After are how many addresses the pool has and how many of these are in use.
	Before Use `json:"before"`
	After  Use `json:"after"`
}

// A Change says how two configurations differ in one pool.
type Change string

// The changes.
const (
	Added   Change = "added"
	Removed Change = "removed"
	Changed Change = "changed"
	Moved   Change = "moved" // only its place among the pools that both configurations have differs
	Same    Change = "same"
)

// Use is how much of a pool is in use.
type Use struct {
	InUse uint64 `json:"inUse"`
	Total uint64 `json:"total"` // math.MaxInt64 stands for more, too
}

// poolChanges compares the pools of two configurations.
func poolChanges(now, next *config.Config, before, after []ipam.PoolUsage) []PoolChange {
	var changes []PoolChange
	places := common(now, next)
	for i := range next.Pools {
		p := &next.Pools[i]
		c := PoolChange{Name: p.Name, Change: Added, Before: useOf(before, p.Name), After: useOf(after, p.Name)}
		if old := find(now, p.Name); old != nil {
			c.Details = differences(old, p)
			switch {
			case len(c.Details) > 0:
				c.Change = Changed
			case slices.Index(places[0], p.Name) != slices.Index(places[1], p.Name):
				c.Change = Moved
			default:
				c.Change = Same
			}
		}
		changes = append(changes, c)
	}
	for i := range now.Pools {
		if name := now.Pools[i].Name; find(next, name) == nil {
			changes = append(changes, PoolChange{Name: name, Change: Removed, Before: useOf(before, name)})
		}
	}
	return changes
}

// common returns the names of the pools that both configurations have, in the order of each.
func common(a, b *config.Config) (names [2][]string) {
	for i, c := range []*config.Config{a, b} {
		for j := range c.Pools {
			if name := c.Pools[j].Name; find(a, name) != nil && find(b, name) != nil {
				names[i] = append(names[i], name)
			}
		}
	}
	return names
}

// find returns the pool of that name, or nil.
func find(cfg *config.Config, name string) *config.Pool {
	i := slices.IndexFunc(cfg.Pools, func(p config.Pool) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &cfg.Pools[i]
}

// useOf adds up the families of a pool.
func useOf(usage []ipam.PoolUsage, name string) (use Use) {
	for _, u := range usage {
		if u.Pool == name {
			use.InUse += u.InUse
			use.Total = saturated(use.Total, u.Total)
		}
	}
	return use
}

// saturated returns the sum of two numbers of addresses, of which the highest that there is stands for more, too.
func saturated(a, b uint64) uint64 {
	const most = 1<<63 - 1
	return min(a+b, most)
}

// differences returns the keys in which two pools differ, as they are written, in the order of the text.
func differences(old, now *config.Pool) []string {
	before, after := keys(old), keys(now)
	var out []string
	for i, k := range after {
		if was := before[i].value; k.value != was {
			out = append(out, fmt.Sprintf("%s: %s, was %s", k.name, orNone(k.value), orNone(was)))
		}
	}
	return out
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

type key struct{ name, value string }

// keys returns all keys of a pool with their values as text.
func keys(p *config.Pool) []key {
	var ranges []string
	for _, r := range p.Ranges {
		ranges = append(ranges, r.String())
	}
	return []key{
		{"addresses", strings.Join(ranges, " ")},
		{"avoid-buggy-ips", fmt.Sprint(p.AvoidBuggyIPs)},
		{"auto-assign", fmt.Sprint(p.AutoAssign)},
		{"priority", fmt.Sprint(p.Priority)},
		{"namespaces", strings.Join(p.Namespaces, " ")},
		{"namespace-selectors", selectorsText(p.NamespaceSelectors)},
		{"service-selectors", selectorsText(p.ServiceSelectors)},
		{"node-selectors", selectorsText(p.NodeSelectors)},
		{"interfaces", strings.Join(p.Interfaces, " ")},
	}
}

// selectorsText returns selectors in one line, one after the other with "or" between them.
func selectorsText(selectors []ipam.Selector) string {
	texts := make([]string, len(selectors))
	for i, s := range selectors {
		texts[i] = s.String()
	}
	return strings.Join(texts, " or ")
}
