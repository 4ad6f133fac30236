package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/invar-lb/invar/pkg/config"
)

// checkConfig looks for a configuration in force.
func checkConfig(f *Facts) []Finding {
	var findings config.Errors
	switch {
	case errors.As(f.ConfigErr, &findings):
		var evidence []string
		for _, e := range findings {
			if e.Class == config.Invalid {
				evidence = append(evidence, e.Error())
			}
		}
		return one("config", fmt.Sprintf("the text in ConfigMap %s has mistakes: the last good configuration stays in force, until the "+
			"daemons restart", f.ConfigMap), evidence, "correct it, and try it out with invar validate and invar plan first")
	case f.ConfigErr != nil:
		return one("config", "there is no configuration: no Service is given an address", []string{f.ConfigErr.Error()},
			"apply a ConfigMap, see config/samples")
	case f.Config != nil && len(f.Config.Pools) == 0:
		return one("config", "no pool is configured: no Service is given an address",
			[]string{fmt.Sprintf("ConfigMap %s has no layer2 pool", f.ConfigMap)}, "add a pool of protocol layer2")
	}
	return nil
}

// oldestMinor is the oldest version 1.x of Kubernetes that can select Services by type.
const oldestMinor = 31

// checkKubernetes looks at the API server's version.
func checkKubernetes(f *Facts) []Finding {
	parts := strings.Split(strings.TrimPrefix(f.Kubernetes, "v"), ".")
	if len(parts) < 2 || parts[0] != "1" {
		return nil
	}
	minor, err := strconv.Atoi(strings.TrimSuffix(parts[1], "+"))
	if err != nil || minor >= oldestMinor {
		return nil
	}
	return one("kubernetes", "this Kubernetes can't select Services by type: the daemons see none",
		[]string{"the API server is " + f.Kubernetes}, fmt.Sprintf("use Kubernetes 1.%d or newer", oldestMinor))
}

// checkController looks for one controller that works.
func checkController(f *Facts) []Finding {
	if f.PodsUnknown {
		return nil
	}
	var evidence []string
	leads, unclear := 0, false
	for _, c := range f.Controllers {
		switch {
		case !c.Ready:
			evidence = append(evidence, fmt.Sprintf("pod %s is not ready", c.Pod))
		case c.State == nil:
			unclear = true
		case c.State.Leading:
			leads++
		default:
			evidence = append(evidence, fmt.Sprintf("pod %s does not hold the Lease metallb-controller", c.Pod))
		}
	}
	if leads > 0 || unclear {
		return nil
	}
	if len(f.Controllers) == 0 {
		evidence = append(evidence, "there is no pod of the controller")
	}
	return one("controller", "no controller works: no Service is given an address", evidence,
		"see kubectl -n NAMESPACE describe deployment controller, and its log")
}

// checkSpeakers looks for speakers that don't run or don't work.
func checkSpeakers(f *Facts) []Finding {
	var evidence []string
	for _, s := range f.Speakers {
		if s.Ready {
			continue
		}
		line := fmt.Sprintf("node %s: pod %s is not ready", s.Node, s.Pod)
		if s.Node == "" {
			line = fmt.Sprintf("pod %s is not ready: no node has taken it", s.Pod)
		}
		if s.State != nil && s.State.NotReady != "" {
			line += ": " + s.State.NotReady
		}
		evidence = append(evidence, line)
	}
	if len(f.Speakers) == 0 && len(f.Nodes) > 0 && !f.PodsUnknown {
		evidence = append(evidence, "there is no pod of a speaker")
	}
	return one("speaker", "some nodes can't announce: their speakers don't work", evidence,
		"see kubectl -n NAMESPACE describe pod POD, and its log; is TCP 7472 or 7946 of the node in use?")
}

// checkExcluded looks for pools that no node may announce.
func checkExcluded(f *Facts) []Finding {
	if len(f.Nodes) == 0 || len(f.Speakers) == 0 {
		return nil
	}
	const do = "kubectl label node NAME node.kubernetes.io/exclude-from-external-load-balancers- on those that should announce, or give " +
		"the speakers --ignore-exclude-lb"
	all := func(p *config.Pool) (evidence []string, excluded bool) {
		for i := range f.Nodes {
			why := f.barred(&f.Nodes[i], p)
			if why == "" {
				return nil, false
			}
			evidence = append(evidence, fmt.Sprintf("node %s %s", f.Nodes[i].Name, why))
			excluded = excluded || f.Nodes[i].Excluded
		}
		return evidence, excluded
	}
	if evidence, _ := all(nil); len(evidence) > 0 {
		return one("excluded", "no node may announce: addresses are given and nobody answers for them", evidence, do)
	}
	var out []Finding
	for i, p := range f.pools() {
		evidence, excluded := all(&f.pools()[i])
		advice := "change the pool's node-selectors, or the labels of a node"
		if excluded {
			advice += "; or " + do
		}
		out = append(out, one("excluded", fmt.Sprintf("no node may announce pool %s: nobody answers for its addresses", p.Name),
			evidence, advice)...)
	}
	return out
}

// checkWishes looks for Services that want a node which can't announce.
func checkWishes(f *Facts) []Finding {
	if len(f.Nodes) == 0 {
		return nil
	}
	var evidence []string
	for _, w := range f.Wishes {
		i := slices.IndexFunc(f.Nodes, func(n Node) bool { return n.Name == w.Node })
		if i < 0 {
			evidence = append(evidence, fmt.Sprintf("Service %s wants node %q, which does not exist", w.Service, w.Node))
		} else if why := f.barred(&f.Nodes[i], nil); why != "" {
			evidence = append(evidence, fmt.Sprintf("Service %s wants node %s, which %s", w.Service, w.Node, why))
		}
	}
	return one("excluded", "annotation invar.io/announce-from names a node that can't announce: another one does", evidence,
		"name another node, or make that one able")
}

// checkStrictARP looks for kube-proxy's IPVS mode without strictARP.
func checkStrictARP(f *Facts) []Finding {
	if f.KubeProxy.Mode != "ipvs" || f.KubeProxy.StrictARP {
		return nil
	}
	return one("strict-arp", "the kernel of every node answers ARP for every Service's address: clients reach whichever is fastest",
		[]string{f.KubeProxy.Source + ": mode: ipvs, ipvs.strictARP: false"},
		"set ipvs.strictARP: true there, then kubectl -n kube-system rollout restart daemonset kube-proxy")
}

// checkOverlaps looks for pools with addresses that belong to others.
func checkOverlaps(f *Facts) []Finding {
	var out []Finding
	for _, p := range f.pools() {
		var evidence []string
		for _, ranges := range [][]Range{f.ServiceRanges, f.PodRanges, f.Used} {
			for _, r := range ranges {
				for _, own := range p.Ranges {
					if own.Overlaps(r.Range) {
						evidence = append(evidence, fmt.Sprintf("%s overlaps %s, %s", own, r.Range, r.What))
					}
				}
			}
		}
		evidence = shortened(evidence)
		out = append(out, one("overlap", fmt.Sprintf("pool %s has addresses that are in use otherwise: a Service that is given one makes "+
			"both unreachable", p.Name), evidence, "take these addresses out of the pool")...)
	}
	return out
}

// shortened cuts long evidence off.
func shortened(lines []string) []string {
	const most = 8
	slices.Sort(lines)
	lines = slices.Compact(lines)
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most:most], fmt.Sprintf("and %d more", more))
	}
	return lines
}
