package layer2

import (
	"regexp"

	"github.com/invar-lb/invar/pkg/netif"
)

// Abilities is what a node's peers must know to tell which addresses it can carry: see [netif.Abilities].
type Abilities = netif.Abilities

// Range is the addresses from First to Last.
type Range = netif.Range

// MaxAbilities is the length of the longest text of [Abilities], in bytes.
const MaxAbilities = netif.MaxAbilities

// ParseAbilities reads what the method MarshalBinary of [Abilities] wrote.
func ParseAbilities(b []byte) (Abilities, error) { return netif.ParseAbilities(b) }

// ParseExclude returns the patterns of a comma-separated list, for [Config.ExcludeInterfaces]: see [netif.ParseExclude].
func ParseExclude(text string) ([]*regexp.Regexp, error) { return netif.ParseExclude(text) }

// Abilities returns what this node can carry now, that is, for which addresses [Announcer.CanCarry] is true. names are
// those of the interfaces that some pool allows, ranges the addresses that pools have: if there is not room for all that
// is known, the rest is left out.
func (a *Announcer) Abilities(names []string, ranges []Range) Abilities {
	a.mu.Lock()
	defer a.mu.Unlock()
	failed := make(map[int]bool, len(a.failed))
	for index := range a.failed {
		failed[index] = true
	}
	return a.snapshot.Abilities(names, ranges, failed)
}
