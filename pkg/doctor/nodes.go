package doctor

import (
	"fmt"
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/ipam"
)

// settled is how long a speaker may take to find the others.
const settled = 15 * time.Second

// checkPort looks for speakers that don't see each other.
func checkPort(f *Facts) []Finding {
	var evidence []string
	grown := func(s *explain.SpeakerState) bool {
		return s.NotReady == "" && !s.Draining && s.Now.Sub(s.Since) > settled
	}
	for _, s := range f.states() {
		if !grown(s) {
			continue
		}
		if s.Blocked {
			evidence = append(evidence, fmt.Sprintf("the speaker of node %s can talk to no other one", s.Node))
			continue
		}
		for _, o := range f.states() {
			sees := func(m explain.Member) bool { return m.Name == o.Node && !m.Observer }
			if grown(o) && !o.Blocked && !slices.ContainsFunc(s.Members, sees) {
				evidence = append(evidence, fmt.Sprintf("the speaker of node %s does not see that of node %s", s.Node, o.Node))
			}
		}
	}
	return one("port", "speakers can't talk to each other: they don't agree on who answers, and a failover is slow",
		shortened(evidence), "open port 7946, TCP and UDP, between all nodes")
}

// checkConflicts looks for foreign hosts that use an address.
func checkConflicts(f *Facts) []Finding {
	var all []explain.Conflict
	for _, s := range f.states() {
		for _, c := range s.Conflicts {
			c.Node = s.Node
			all = append(all, c)
		}
	}
	for _, c := range f.Controllers {
		if c.State != nil {
			all = append(all, c.State.Conflicts...)
		}
	}
	slices.SortFunc(all, func(a, b explain.Conflict) int { return a.Addr.Compare(b.Addr) })
	var out []Finding
	for len(all) > 0 {
		addr := all[0].Addr
		var evidence []string
		for len(all) > 0 && all[0].Addr == addr {
			evidence = append(evidence, fmt.Sprintf("MAC %s answers on interface %s of node %s", all[0].MAC, all[0].Interface, all[0].Node))
			all = all[1:]
		}
		out = append(out, one("conflict", fmt.Sprintf("%s is used by a host outside the cluster: clients reach one or the other", addr),
			shortened(evidence), "give that host another address, or take this one out of the pool; look for the MAC in the switch's table")...)
	}
	return out
}

// checkInterfaces looks for pools that no interface can carry on any node that may announce them.
func checkInterfaces(f *Facts) []Finding {
	var out []Finding
	for i := range f.pools() {
		p := &f.pools()[i]
		var evidence []string
		for j := range f.Nodes {
			n := &f.Nodes[j]
			s := f.state(n.Name)
			if f.barred(n, p) != "" {
				continue
			}
			if s == nil || len(s.Interfaces) == 0 || len(carriers(s, p)) > 0 {
				evidence = nil // it can, or that is not known
				break
			}
			evidence = append(evidence, fmt.Sprintf("node %s: %s", n.Name, interfacesText(s, p)))
		}
		out = append(out, one("interface", fmt.Sprintf("no interface of any node can carry pool %s: nobody answers for its addresses", p.Name),
			shortened(evidence), "name interfaces that exist there in the pool's interfaces, or see the speakers' --exclude-interfaces")...)
	}
	return out
}

// interfacesText says why none of a node's interfaces carries the pool.
func interfacesText(s *explain.SpeakerState, p *config.Pool) string {
	var words []string
	for _, i := range s.Interfaces {
		switch {
		case i.Skip != "":
			words = append(words, fmt.Sprintf("%s (%s)", i.Name, i.Skip))
		default:
			words = append(words, i.Name+" (not one of the pool's)")
		}
	}
	if len(p.Interfaces) > 0 {
		return fmt.Sprintf("the pool wants %s; there are %s", and(p.Interfaces), and(words))
	}
	return "there are " + and(words)
}

// carrying calls do with each interface that carries addresses of a pool on a node that may announce it.
func (f *Facts) carrying(p *config.Pool, do func(s *explain.SpeakerState, i explain.Interface)) {
	for j := range f.Nodes {
		s := f.state(f.Nodes[j].Name)
		if s == nil || f.barred(&f.Nodes[j], p) != "" {
			continue
		}
		for _, i := range carriers(s, p) {
			do(s, i)
		}
	}
}

// checkRPFilter looks for a strict reverse path filter that drops what comes from clients beyond a router: such traffic arrives
// on the interface that announces, and the way back to the client is by another one.
func checkRPFilter(f *Facts) []Finding {
	const strict = 1 // ip-sysctl.rst; RFC 3704, section 2.2
	var evidence []string
	for k := range f.pools() {
		p := &f.pools()[k]
		if !slices.ContainsFunc(p.Ranges, func(r ipam.Range) bool { return r.Family() == ipam.IPv4 }) {
			continue
		}
		f.carrying(p, func(s *explain.SpeakerState, i explain.Interface) {
			elsewhere := slices.ContainsFunc(s.Interfaces, func(o explain.Interface) bool { return o.Name != i.Name && o.DefaultRoute })
			if i.RPFilter == strict && !i.DefaultRoute && elsewhere {
				evidence = append(evidence, fmt.Sprintf("node %s: %s carries pool %s with rp_filter 1, and the default route leads elsewhere",
					s.Node, i.Name, p.Name))
			}
		})
	}
	return one("rp-filter", "the kernel drops requests of clients beyond a router (reverse path filter)", shortened(evidence),
		"on these nodes sysctl -w net.ipv4.conf.INTERFACE.rp_filter=2, and net.ipv4.conf.all.rp_filter not 1; or route back by that interface")
}

// checkPromiscuous looks for radios, which often let only frames for their own address through.
func checkPromiscuous(f *Facts) []Finding {
	var evidence []string
	for k := range f.pools() {
		p := &f.pools()[k]
		f.carrying(p, func(s *explain.SpeakerState, i explain.Interface) {
			if i.Wireless && !i.Promiscuous {
				evidence = append(evidence, fmt.Sprintf("node %s: %s is wireless, not promiscuous, and carries pool %s", s.Node, i.Name, p.Name))
			}
		})
	}
	return one("promiscuous", "a wireless interface may drop ARP requests that are not for its own address", shortened(evidence),
		"ip link set INTERFACE promisc on, or announce on a wired one (the pool's interfaces or node-selectors)")
}

// maxSkew is how far clocks may differ. Nothing of Invar compares clocks of nodes, but certificates, logs and whoever reads them do.
const maxSkew = 2 * time.Second

// checkClocks compares the clocks of the speakers' nodes, by way of the tool's: what a speaker's state gives as the time was true
// between question and answer.
func checkClocks(f *Facts) []Finding {
	type bounds struct {
		node      string
		low, high time.Duration // the node's clock is ahead of the tool's by this
	}
	var all []bounds
	for _, s := range f.Speakers {
		if s.State != nil && !s.Asked.IsZero() {
			all = append(all, bounds{s.Node, s.State.Now.Sub(s.Answered), s.State.Now.Sub(s.Asked)})
		}
	}
	var evidence []string
	for i, a := range all {
		for _, b := range all[i+1:] {
			ahead, behind := a, b
			if a.low < b.low {
				ahead, behind = b, a
			}
			if least := ahead.low - behind.high; least > maxSkew {
				evidence = append(evidence, fmt.Sprintf("the clock of node %s is at least %s ahead of that of node %s", ahead.node,
					least.Round(time.Second/10), behind.node))
			}
		}
	}
	return one("clock", "clocks of nodes differ: times in logs and states can't be compared", shortened(evidence),
		"run an NTP client, such as chrony, on each node")
}

// checkVersions looks for pods of different versions, and a tool of another one.
func checkVersions(f *Facts) []Finding {
	pods := map[string][]string{}
	var versions []string
	add := func(version, pod string) {
		if version != "" {
			pods[version] = append(pods[version], pod)
			versions = append(versions, version)
		}
	}
	for _, s := range f.Speakers {
		if s.State != nil {
			add(s.State.Version, "speaker "+s.Pod)
		}
	}
	for _, c := range f.Controllers {
		if c.State != nil {
			add(c.State.Version, "controller "+c.Pod)
		}
	}
	if len(versions) > 0 && f.Version != "devel" { // which is what a tool says that was built without a version
		add(f.Version, "this tool")
	}
	slices.Sort(versions)
	versions = slices.Compact(versions)
	if len(versions) < 2 {
		return nil
	}
	var evidence []string
	for _, v := range versions {
		evidence = append(evidence, fmt.Sprintf("%s: %s", v, and(pods[v])))
	}
	return one("version", "versions are out of step", evidence,
		"finish the rollout (kubectl -n NAMESPACE rollout status daemonset speaker), and use the tool of the same version")
}
