package explain

import (
	"cmp"
	"net/netip"
	"slices"
)

// Status is how the cluster fares.
type Status struct {
	Pools    []Pool          `json:"pools"`
	Services []StatusService `json:"services"`
	Members  []StatusMember  `json:"members"`
	Config   *Config         `json:"config,omitempty"` // nil: not known
	// Conflicts are addresses that a host outside the cluster uses.
	Conflicts []Conflict `json:"conflicts,omitempty"`
	Moves     []Move     `json:"moves,omitempty"` // the last ones, the newest first
	Doubts    []string   `json:"doubts,omitempty"`
}

// StatusService is one address of a Service, or a Service without one.
type StatusService struct {
	Service string     `json:"service"`
	Addr    netip.Addr `json:"addr,omitzero"`
	Pool    string     `json:"pool,omitempty"`
	Holder  *Holder    `json:"holder,omitempty"` // nil: nobody announces it, or it is Unknown who does
	Unknown bool       `json:"unknown,omitempty"`
	// Note is what is worth knowing: what it waits for, that it is stranded.
	Note string `json:"note,omitempty"`
}

// StatusMember is a speaker or controller.
type StatusMember struct {
	Node  string `json:"node"`
	Pod   string `json:"pod,omitempty"`
	Image string `json:"image,omitempty"`
	// Controller: it is one, else a speaker.
	Controller bool `json:"controller,omitempty"`
	// Addresses is how many it announces.
	Addresses int `json:"addresses"`
	// State is one of "announcing", "draining", "unable", "silent" and "no member", or of a controller "leads", "stands by" and
	// "not ready"; "not known" of both.
	State string `json:"state"`
}

// Status says how the cluster fares. services are those of type LoadBalancer.
func (c *Cluster) Status(services []Subject) Status {
	s := Status{Doubts: c.doubts(), Pools: []Pool{}, Services: []StatusService{}, Members: c.members()}
	switch {
	case c.Controller != nil:
		s.Pools, s.Config, s.Moves = c.Controller.Pools, &c.Controller.Config, c.Controller.Moves
	case len(c.Speakers) > 0:
		s.Config = &c.Speakers[0].Config
	}
	for _, subject := range services {
		if c.serves(subject) {
			s.Services = append(s.Services, c.statusOf(subject)...)
		}
	}
	slices.SortStableFunc(s.Services, func(a, b StatusService) int { return cmp.Compare(a.Service, b.Service) })
	s.Conflicts = c.conflicts()
	return s
}

// serves reports whether a Service is one of this Invar's. If the controller can't tell its class, the Service's condition has to.
func (c *Cluster) serves(s Subject) bool {
	if c.Controller != nil {
		return s.Class == c.Controller.Class
	}
	return s.Class == "" || s.Allocated.Reason != ""
}

// statusOf returns a line for each address of a Service, or one if it has none.
func (c *Cluster) statusOf(subject Subject) []StatusService {
	decided := c.find(subject)
	note := ""
	if decided.Reason != "Allocated" {
		note = decided.Message
	}
	if len(subject.Addrs) == 0 {
		return []StatusService{{Service: subject.Name, Note: cmp.Or(note, "the controller has not come to it")}}
	}
	var out []StatusService
	for i, addr := range subject.Addrs {
		line := StatusService{Service: subject.Name, Addr: addr, Note: note}
		if i < len(decided.Pools) {
			line.Pool = decided.Pools[i]
		}
		switch v := c.viewOf(addr); {
		case len(v.holders) > 0:
			line.Holder = &v.holders[0]
		case !v.known && !c.listens():
			line.Unknown = true
			if subject.Announced.Message != "" {
				line.Note = cmp.Or(line.Note, "by its condition "+subject.Announced.Message)
			}
		}
		out = append(out, line)
	}
	return out
}

// find returns what the controller has decided for a Service.
func (c *Cluster) find(subject Subject) Service {
	if c.Controller != nil {
		for _, s := range c.Controller.Services {
			if s.Name == subject.Name {
				return s
			}
		}
	}
	return c.decision(subject)
}

// conflicts returns what speakers and controller know of foreign hosts.
func (c *Cluster) conflicts() (out []Conflict) {
	asked := map[string]bool{}
	for i := range c.Speakers {
		asked[c.Speakers[i].Node] = true
		for _, f := range c.Speakers[i].Conflicts {
			f.Node = c.Speakers[i].Node
			out = append(out, f)
		}
	}
	if c.Controller != nil {
		for _, f := range c.Controller.Conflicts {
			if !asked[f.Node] {
				out = append(out, f)
			}
		}
	}
	SortConflicts(out)
	return out
}

// members returns the speakers by node, then the controllers.
func (c *Cluster) members() []StatusMember {
	seen := map[string]Member{}
	all := c.membersSeen()
	for _, m := range all {
		seen[m.Name] = m
	}
	held := map[string]int{}
	for _, h := range c.held() {
		held[h.Node]++
	}
	out := []StatusMember{}
	for _, p := range c.Pods {
		m := StatusMember{Node: p.Node, Pod: p.Name, Image: p.Image, Controller: !p.Speaker}
		switch {
		case !p.Speaker:
			m.State = c.controllerState(p)
		case len(all) == 0:
			m.State = stateUnknown
		default:
			m.State = memberState(seen, p.Node)
		}
		if p.Speaker {
			m.Addresses = held[p.Node]
		}
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b StatusMember) int {
		if a.Controller != b.Controller {
			if b.Controller {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Pod, b.Pod))
	})
	return out
}

// membersSeen returns the members of the gossip: as the controller sees them, or else a speaker.
func (c *Cluster) membersSeen() []Member {
	if c.listens() {
		return c.Controller.Members
	}
	for i := range c.Speakers {
		if len(c.Speakers[i].Members) > 0 {
			return c.Speakers[i].Members
		}
	}
	return nil
}

// held returns who announces what.
func (c *Cluster) held() (out []Holder) {
	asked := map[string]bool{}
	for i := range c.Speakers {
		s := &c.Speakers[i]
		asked[s.Node] = true
		for _, a := range s.Addresses {
			if a.Role == RoleHold && len(a.Interfaces) > 0 {
				out = append(out, Holder{Addr: a.Addr, Node: s.Node})
			}
		}
	}
	if c.Controller != nil {
		for _, h := range c.Controller.Holders {
			if !asked[h.Node] {
				out = append(out, h)
			}
		}
	}
	return out
}

// stateUnknown is the state of a pod that nobody can tell of.
const stateUnknown = "not known"

func memberState(seen map[string]Member, node string) string {
	m, ok := seen[node]
	switch {
	case !ok:
		return "no member"
	case m.Silent:
		return "silent"
	case m.Draining:
		return "draining"
	case !m.Announcing:
		return "unable"
	}
	return "announcing"
}

func (c *Cluster) controllerState(p Pod) string {
	switch {
	case c.Controller != nil && c.Controller.Identity == p.Name:
		return "leads"
	case !p.Ready:
		return "not ready"
	case p.Failure != "":
		return stateUnknown
	}
	return "stands by"
}
