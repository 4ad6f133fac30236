package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Why is the answer to why a Service is, or is not, served.
type Why struct {
	Service string `json:"service"`
	// Served: it has what it asks for, each address is announced, and nobody else uses one.
	Served bool `json:"served"`
	// Summary is that in a sentence.
	Summary string `json:"summary"`
	// Allocation is what the controller says of its addresses.
	Allocation string       `json:"allocation,omitempty"`
	Addresses  []WhyAddress `json:"addresses,omitempty"`
	// Pools say whether it could have an address of them. Empty if the controller can't be asked.
	Pools []Verdict `json:"pools,omitempty"`
	// Doubts are what is not known, and what is wrong with Invar itself.
	Doubts []string `json:"doubts,omitempty"`
}

// WhyAddress is an address of the Service.
type WhyAddress struct {
	Addr netip.Addr `json:"addr"`
	Pool string     `json:"pool,omitempty"`
	// With are other Services on the address.
	With []string `json:"with,omitempty"`
	// Holders announce it: one, unless it is moving or something is wrong.
	Holders []Holder `json:"holders,omitempty"`
	// Problem says why nobody does, or what is wrong otherwise; empty: nothing.
	Problem string `json:"problem,omitempty"`
	// Nodes say of each node what it does, or why it does not announce.
	Nodes     []WhyNode  `json:"nodes,omitempty"`
	Conflicts []Conflict `json:"conflicts,omitempty"`
	Moves     []Move     `json:"moves,omitempty"` // the last ones, the newest first
}

// WhyNode is a node, seen from an address.
type WhyNode struct {
	Node  string `json:"node"`
	Holds bool   `json:"holds,omitempty"`
	// Text says what it does, or why not.
	Text string `json:"text"`
	Bar  Bar    `json:"bar,omitempty"`
}

// lastMoves is how many moves of an address are told.
const lastMoves = 5

// Why explains a Service.
func (c *Cluster) Why(s Subject) Why {
	w := Why{Service: s.Name, Doubts: c.doubts()}
	if s.Type != "LoadBalancer" {
		w.Summary = fmt.Sprintf("It is of type %s: only Services of type LoadBalancer get an address.", s.Type)
		return w
	}
	if c.Controller != nil && s.Class != c.Controller.Class {
		w.Summary = fmt.Sprintf("Its spec.loadBalancerClass is %s; this controller serves Services %s (see --lb-class).",
			cmp.Or(s.Class, "not set"), classText(c.Controller.Class))
		return w
	}
	decided := c.decision(s)
	w.Allocation, w.Pools = decided.Message, decided.Verdicts
	for _, addr := range s.Addrs {
		w.Addresses = append(w.Addresses, c.whyAddress(s, addr))
	}
	w.Summary, w.Served = summary(&w, s, decided)
	return w
}

func classText(class string) string {
	if class == "" {
		return "without a class"
	}
	return "of class " + class
}

// decision returns what the controller has decided for s, by what the Service shows if the controller can't be asked.
func (c *Cluster) decision(s Subject) Service {
	if c.Controller != nil && c.Controller.Service != nil {
		return *c.Controller.Service
	}
	return Service{
		Name: s.Name, Addrs: s.Addrs, Reason: s.Allocated.Reason, Message: s.Allocated.Message,
		Waiting: s.Allocated.Reason != "" && !s.Allocated.True,
	}
}

// summary says in a sentence how the Service fares.
func summary(w *Why, s Subject, decided Service) (text string, served bool) {
	var problems []string
	for _, a := range w.Addresses {
		if a.Problem != "" {
			problems = append(problems, a.Problem)
		}
	}
	switch {
	case len(w.Addresses) == 0 && decided.Message != "":
		return "It has no address: " + decided.Message + ".", false
	case len(w.Addresses) == 0:
		return "It has no address, and the controller has not said why: it does not run or does not lead, or has not come to it.", false
	case decided.Waiting && decided.Reason != "OneFamilyOnly":
		return "It does not have what it asks for: " + decided.Message + ".", false
	case len(problems) > 0:
		return strings.Join(problems, " "), false
	case decided.Stranded > 0 || decided.Reason == "Stranded":
		return "It is served, but " + strandedText(decided) + ".", true
	}
	var parts []string
	for _, a := range w.Addresses {
		if len(a.Holders) == 0 {
			return "By its conditions it is served: " + s.Announced.Message + ".", true
		}
		parts = append(parts, fmt.Sprintf("%s is announced by %s", a.Addr, holdersText(a.Holders)))
	}
	return "It is served: " + strings.Join(parts, "; ") + ".", true
}

func strandedText(s Service) string {
	_, text, found := strings.Cut(s.Message, "; ")
	if !found {
		return "an address of it lies in no pool any more"
	}
	return text
}

func holdersText(hs []Holder) string {
	var out []string
	for _, h := range hs {
		text := h.Node
		if len(h.Interfaces) > 0 {
			text += " on " + strings.Join(h.Interfaces, ", ")
		}
		out = append(out, text)
	}
	return strings.Join(out, " and ")
}

// whyAddress explains one address.
func (c *Cluster) whyAddress(s Subject, addr netip.Addr) WhyAddress {
	v := c.viewOf(addr)
	a := WhyAddress{
		Addr: addr, Pool: v.Pool, Holders: v.holders, Conflicts: v.conflict, Moves: c.movesOf(addr, s.Created, lastMoves),
		With: slices.DeleteFunc(slices.Clone(v.Services), func(name string) bool { return name == s.Name }),
	}
	for _, e := range v.Nodes {
		a.Nodes = append(a.Nodes, v.node(e))
	}
	a.Problem = c.problem(s, &v, addr)
	return a
}

// problem says why nobody announces an address, or what else is wrong with it.
func (c *Cluster) problem(s Subject, v *view, addr netip.Addr) string {
	var foreign []string
	for _, f := range v.conflict {
		foreign = append(foreign, fmt.Sprintf("%s (seen from node %s on %s)", f.MAC, f.Node, f.Interface))
	}
	slices.Sort(foreign)
	switch {
	case len(foreign) > 0 && len(v.holders) == 0:
		return fmt.Sprintf("Nobody announces %s: a host outside the cluster uses it: %s.", addr, strings.Join(foreign, ", "))
	case len(foreign) > 0:
		return fmt.Sprintf("%s is announced by %s, and used by a host outside the cluster: %s.",
			addr, holdersText(v.holders), strings.Join(foreign, ", "))
	case len(v.holders) == 1:
		return ""
	case len(v.holders) > 1:
		return fmt.Sprintf("%s is announced by more than one node, %s: it is moving, or they can't talk to each other.",
			addr, holdersText(v.holders))
	case len(v.probing) > 0:
		return fmt.Sprintf("Nobody announces %s yet: %s asks the LAN whether it is free.", addr, strings.Join(v.probing, ", "))
	case len(v.quiet) > 0:
		return fmt.Sprintf("%s answers for %s without announcing it: it is cut off from the others.", strings.Join(v.quiet, ", "), addr)
	case v.known:
		return fmt.Sprintf("Nobody announces %s: %s.", addr, v.whyNobody())
	case s.Conflict.True:
		return "By its condition, " + s.Conflict.Message + "."
	case s.Announced.True:
		return "" // no speaker can be asked; the condition has to do
	case s.Announced.Message != "":
		return "By its condition, " + s.Announced.Message + "."
	}
	return fmt.Sprintf("Who announces %s is not known: no speaker can be asked.", addr)
}

// whyNobody says why no node may hold the address.
func (v *view) whyNobody() string {
	if len(v.Nodes) == 0 {
		return "there is no node"
	}
	byBar := map[Bar][]string{}
	var order []Bar
	for _, e := range v.Nodes {
		if len(byBar[e.Bar]) == 0 {
			order = append(order, e.Bar)
		}
		byBar[e.Bar] = append(byBar[e.Bar], e.Node)
	}
	if len(order) == 1 && order[0] == BarNoEndpoint {
		return "no endpoint of the Service takes traffic"
	}
	if nodes := byBar[BarNone]; len(nodes) > 0 {
		return strings.Join(nodes, ", ") + " could, and will in a moment, unless cut off from the others"
	}
	var parts []string
	for _, bar := range order {
		parts = append(parts, strings.Join(byBar[bar], ", ")+": "+v.barText(bar, byBar[bar]))
	}
	return strings.Join(parts, "; ")
}

// node says what a node does about the address, or why it does not announce it.
func (v *view) node(e Eligibility) WhyNode {
	n := WhyNode{Node: e.Node, Bar: e.Bar}
	for _, h := range v.holders {
		if h.Node == e.Node {
			n.Holds, n.Text = true, "announces it"
			if len(h.Interfaces) > 0 {
				n.Text += " on " + strings.Join(h.Interfaces, ", ")
			}
			return n
		}
	}
	switch {
	case e.Bar != BarNone:
		n.Text = v.barText(e.Bar, []string{e.Node})
	case slices.Contains(v.probing, e.Node):
		n.Text = "asks the LAN whether it is free"
	case slices.Contains(v.quiet, e.Node):
		n.Text = "answers who asks it, without announcing: it is cut off"
	case len(v.holders) > 0 && v.holders[0].Node == v.Prefer:
		n.Text = fmt.Sprintf("could; the Service asks for %s", v.Prefer)
	case len(v.holders) > 0:
		n.Text = fmt.Sprintf("could; %s holds it, and a holder keeps its address", v.holders[0].Node)
	default:
		n.Text = "could"
	}
	return n
}

// barText puts a bar into words.
func (v *view) barText(bar Bar, nodes []string) string {
	switch bar {
	case BarNoSpeaker:
		return "no speaker is alive there"
	case BarSilent:
		return "the node does not answer on the LAN"
	case BarUnable:
		return "its speaker can announce on no interface"
	case BarExcluded:
		return "label node.kubernetes.io/exclude-from-external-load-balancers excludes it"
	case BarNoNetwork:
		return "its condition NetworkUnavailable is True"
	case BarNoEndpoint:
		return "no endpoint of the Service takes traffic"
	case BarNotLocal:
		return "externalTrafficPolicy is Local, and no endpoint there takes traffic"
	case BarNotSelected:
		return "the node-selectors of pool " + v.Pool + " leave it out"
	case BarNoInterface:
		for _, node := range nodes {
			if text := v.own[node].NoInterface; text != "" {
				return text
			}
		}
		return "no interface there can carry it"
	case BarNone:
	}
	return string(bar)
}

// Duration rounds d for people: to the millisecond below a second, to a hundredth below a minute, else to the second.
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
