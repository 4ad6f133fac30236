package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/explain"
)

// A Finding is something that is wrong.
type Finding struct {
	Check    string   `json:"check"`    // name of the check, for example "strict-arp"
	What     string   `json:"what"`     // what is wrong, and what comes of it
	Evidence []string `json:"evidence"` // what was seen, at least one line
	Do       string   `json:"do"`       // what to do about it
}

// A Report is what an examination found.
type Report struct {
	Findings []Finding `json:"findings"`
	// Unknown is what could not be looked at, so that a fault may hide there.
	Unknown []string `json:"unknown"`
	Checked Checked  `json:"checked"`
}

// Checked is how much was looked at.
type Checked struct {
	Nodes       int `json:"nodes"`
	Speakers    int `json:"speakers"`
	Controllers int `json:"controllers"`
	Pools       int `json:"pools"`
}

// checks are all there are, in the order of the report: what breaks most first.
var checks = []func(*Facts) []Finding{
	checkConfig, checkKubernetes, checkController, checkSpeakers, checkExcluded, checkWishes, checkPort, checkRivals, checkStrictARP,
	checkConflicts, checkOverlaps, checkInterfaces, checkRPFilter, checkPromiscuous, checkClocks, checkVersions,
}

// Examine carries out all checks.
func Examine(f *Facts) Report {
	r := Report{Findings: []Finding{}, Unknown: unknown(f)}
	for _, check := range checks {
		r.Findings = append(r.Findings, check(f)...)
	}
	r.Checked = Checked{
		Nodes: len(f.Nodes), Speakers: len(f.Speakers), Controllers: len(f.Controllers), Pools: len(f.pools()),
	}
	return r
}

// unknown lists what is missing of the facts.
func unknown(f *Facts) []string {
	out := []string{}
	for _, s := range f.Speakers {
		if s.State == nil && s.Ready {
			out = append(out, fmt.Sprintf("node %s: its speaker %s could not be asked: %s", s.Node, s.Pod, s.Failure))
		}
	}
	for _, c := range f.Controllers {
		if c.State == nil && c.Ready {
			out = append(out, fmt.Sprintf("the controller %s could not be asked: %s", c.Pod, c.Failure))
		}
	}
	return append(out, f.Unlearnt...)
}

// one returns a single finding, if there is evidence.
func one(check, what string, evidence []string, do string) []Finding {
	if len(evidence) == 0 {
		return nil
	}
	return []Finding{{Check: check, What: what, Evidence: evidence, Do: do}}
}

// pools returns the pools in force.
func (f *Facts) pools() []config.Pool {
	if f.Config == nil {
		return nil
	}
	return f.Config.Pools
}

// barred returns why a node announces nothing of a pool whatever its interfaces are; empty: it may.
func (f *Facts) barred(n *Node, p *config.Pool) string {
	switch {
	case n.Excluded && !f.IgnoreExclude && !f.FlagsUnknown:
		return "has label node.kubernetes.io/exclude-from-external-load-balancers"
	case n.NetworkUnavailable:
		return "has condition NetworkUnavailable"
	case p != nil && !p.SelectsNode(n.Labels):
		return "is matched by none of the pool's node-selectors"
	case !f.PodsUnknown && !slices.ContainsFunc(f.Speakers, func(s Speaker) bool { return s.Node == n.Name }):
		return "has no speaker"
	}
	return ""
}

// states returns the states of the speakers that have one.
func (f *Facts) states() []*explain.SpeakerState {
	var out []*explain.SpeakerState
	for _, s := range f.Speakers {
		if s.State != nil {
			out = append(out, s.State)
		}
	}
	return out
}

// state returns what the speaker of a node says, or nil.
func (f *Facts) state(node string) *explain.SpeakerState {
	for _, s := range f.states() {
		if s.Node == node {
			return s
		}
	}
	return nil
}

// carriers returns the interfaces of a node that carry addresses of a pool: those that the pool allows, else those in whose
// subnet some of its addresses lie, else all. It is the rule of netif.Snapshot.Carriers for a whole pool.
func carriers(s *explain.SpeakerState, p *config.Pool) []explain.Interface {
	var usable, inSubnet []explain.Interface
	for _, i := range s.Interfaces {
		if i.Skip != "" || len(p.Interfaces) > 0 && !slices.Contains(p.Interfaces, i.Name) {
			continue
		}
		usable = append(usable, i)
		if slices.ContainsFunc(i.Prefixes, func(prefix netip.Prefix) bool { return meets(p, prefix) }) {
			inSubnet = append(inSubnet, i)
		}
	}
	if len(p.Interfaces) == 0 && len(inSubnet) > 0 {
		return inSubnet
	}
	return usable
}

// meets reports whether a pool has addresses in the subnet of prefix.
func meets(p *config.Pool, prefix netip.Prefix) bool {
	prefix = prefix.Masked()
	for _, r := range p.Ranges {
		if prefix.Contains(r.From) || r.Contains(prefix.Addr()) {
			return true
		}
	}
	return false
}

// and returns words with commas between them and "and" before the last.
func and(words []string) string {
	switch n := len(words); n {
	case 0, 1, 2:
		return strings.Join(words, " and ")
	default:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
}
