package explain

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Cluster is all that is known when a question is asked: what could be had from speakers, controller and Kubernetes.
type Cluster struct {
	// Controller is the state of the controller that leads; nil if it could not be had, and NoController says why.
	Controller   *ControllerState
	NoController string
	// Speakers are the states that could be had, by node.
	Speakers []SpeakerState
	// Pods are those of Invar, as Kubernetes knows them.
	Pods []Pod
}

// Pod is a pod of Invar.
type Pod struct {
	Name    string `json:"name"`
	Node    string `json:"node"`
	Speaker bool   `json:"speaker"` // else it is a controller
	Ready   bool   `json:"ready"`
	Image   string `json:"image"`
	// Failure is why its state could not be had; empty: it was, or it was not asked.
	Failure string `json:"failure,omitempty"`
}

// place names the pod and, if there is one, its node.
func (p *Pod) place() string {
	if p.Node == "" {
		return p.Name
	}
	return p.Name + " on node " + p.Node
}

// Subject is a Service as Kubernetes has it.
type Subject struct {
	Name      string // "namespace/name"
	Type      string // spec.type
	Class     string // spec.loadBalancerClass
	Created   time.Time
	Addrs     []netip.Addr
	Allocated Condition // invar.io/AddressAllocated
	Announced Condition // invar.io/Announced
	Conflict  Condition // invar.io/AddressConflict
}

// Condition is a condition of a Service's status; the zero one is absent.
type Condition struct {
	True    bool
	Reason  string
	Message string
}

// view is what all speakers together say of one address.
type view struct {
	Address
	known    bool       // some speaker knows the address
	holders  []Holder   // nodes that announce it
	probing  []string   // nodes that ask the LAN for it
	quiet    []string   // nodes that answer and don't announce
	conflict []Conflict // by whom it is used, too
	own      map[string]Address
}

// listens reports whether there is a controller that can be asked and hears the speakers.
func (c *Cluster) listens() bool { return c.Controller != nil && c.Controller.Listening }

// viewOf puts together what is known of an address.
func (c *Cluster) viewOf(addr netip.Addr) view {
	v := view{own: map[string]Address{}}
	var newest time.Time
	for i := range c.Speakers {
		s := &c.Speakers[i]
		for _, a := range s.Addresses {
			if a.Addr != addr {
				continue
			}
			v.own[s.Node] = a
			if !v.known || s.Now.After(newest) {
				v.Address, v.known, newest = a, true, s.Now
			}
			v.note(s.Node, a)
		}
		for _, f := range s.Conflicts {
			if f.Addr == addr {
				f.Node = s.Node
				v.conflict = append(v.conflict, f)
			}
		}
	}
	if c.Controller != nil {
		v.learn(c.Controller, addr)
	}
	return v
}

// note takes in what a node does about the address.
func (v *view) note(node string, a Address) {
	switch a.Role {
	case RoleHold:
		if len(a.Interfaces) > 0 {
			v.holders = append(v.holders, Holder{Addr: a.Addr, Node: node, Interfaces: a.Interfaces, Since: a.Since})
		}
	case RoleProbe:
		v.probing = append(v.probing, node)
	case RoleQuiet:
		v.quiet = append(v.quiet, node)
	case RoleNone:
	}
}

// learn adds what the controller has heard of speakers that could not be asked.
func (v *view) learn(c *ControllerState, addr netip.Addr) {
	for _, h := range c.Holders {
		if _, asked := v.own[h.Node]; h.Addr == addr && !asked {
			v.holders = append(v.holders, h)
		}
	}
	for _, f := range c.Conflicts {
		if _, asked := v.own[f.Node]; f.Addr == addr && !asked {
			v.conflict = append(v.conflict, f)
		}
	}
}

// movesOf returns the last moves of an address since its Service was created, the newest first, at most n.
func (c *Cluster) movesOf(addr netip.Addr, created time.Time, n int) []Move {
	var all []Move
	add := func(moves []Move) {
		for _, m := range moves {
			if m.Addr == addr && !m.At.Before(created) && !slices.ContainsFunc(all, m.same) {
				all = append(all, m)
			}
		}
	}
	for i := range c.Speakers {
		add(c.Speakers[i].Moves) // they know best
	}
	if c.Controller != nil {
		add(c.Controller.Moves)
	}
	slices.SortStableFunc(all, func(a, b Move) int { return b.At.Compare(a.At) })
	return all[:min(n, len(all))]
}

// same reports whether m and o are one move, told by two: the times that they give it may differ a little.
func (m Move) same(o Move) bool {
	return m.To == o.To && m.From == o.From && m.Cause == o.Cause && m.At.Sub(o.At).Abs() < time.Second
}

// doubts returns what is not known, and what is wrong with Invar itself.
func (c *Cluster) doubts() []string {
	var out []string
	if c.Controller == nil {
		out = append(out, "The controller can't be asked: "+cmp.Or(c.NoController, "none leads")+".")
	} else if e := c.Controller.Config.Error; e != "" {
		out = append(out, "The newest configuration is not in force: "+e)
	}
	for _, p := range c.Pods {
		switch {
		case p.Failure != "":
			out = append(out, fmt.Sprintf("Pod %s can't be asked: %s.", p.place(), p.Failure))
		case !p.Ready && p.Node == "":
			out = append(out, fmt.Sprintf("Pod %s is not ready: no node has taken it.", p.Name))
		case !p.Ready:
			out = append(out, fmt.Sprintf("Pod %s is not ready.", p.place()))
		}
	}
	for i := range c.Speakers {
		if c.Speakers[i].Blocked {
			out = append(out, fmt.Sprintf("The speaker of node %s can talk to no other: is port 7946, TCP and UDP, blocked?",
				c.Speakers[i].Node))
		}
	}
	return out
}

// HeldBy reports whether node alone announces addr, and if not what is in the way.
func (c *Cluster) HeldBy(addr netip.Addr, node string) (held bool, state string) {
	v := c.viewOf(addr)
	if len(v.holders) == 1 && v.holders[0].Node == node {
		return true, ""
	}
	for _, e := range v.Nodes {
		if e.Node == node && e.Bar != BarNone {
			return false, fmt.Sprintf("%s may not announce %s: %s", node, addr, v.barText(e.Bar, []string{node}))
		}
	}
	if len(v.holders) > 0 {
		return false, fmt.Sprintf("%s is announced by %s", addr, holdersText(v.holders))
	}
	if !v.known && !c.listens() {
		return false, fmt.Sprintf("who announces %s is not known: %s", addr, strings.Join(c.doubts(), " "))
	}
	return false, "nobody announces " + addr.String()
}

// Idle reports whether node announces nothing, and if not what.
func (c *Cluster) Idle(node string) (idle bool, state string) {
	if !slices.ContainsFunc(c.Speakers, func(s SpeakerState) bool { return s.Node == node }) {
		if !slices.ContainsFunc(c.Pods, func(p Pod) bool { return p.Speaker && p.Node == node }) {
			return true, ""
		}
		return false, fmt.Sprintf("the speaker of %s can't be asked", node)
	}
	n := 0
	for _, h := range c.held() {
		if h.Node == node {
			n++
		}
	}
	if n == 1 {
		return false, node + " still announces 1 address"
	}
	return n == 0, fmt.Sprintf("%s still announces %d addresses", node, n)
}
