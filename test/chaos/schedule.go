package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// class says which faults may be in force together: those of different classes.
type class int

const (
	lanClass     class = iota // a node or a speaker is lost, or leaves
	planeClass                // the control plane, or Invar's controller
	nodeClass                 // Kubernetes' components on a node
	serviceClass              // Services and their endpoints
	configClass               // the ConfigMap
	clockClass
)

// planned is how a fault of a kind is drawn.
type planned struct {
	kind          string
	class         class
	node          bool // befalls a node
	short, longer time.Duration
}

// plans are all kinds of fault; doc.go says what each is.
var plans = []planned{
	{"cable-cut", lanClass, true, 100 * time.Millisecond, 12 * time.Second},
	{"node-freeze", lanClass, true, 300 * time.Millisecond, 12 * time.Second},
	{"partition", lanClass, false, 200 * time.Millisecond, 12 * time.Second},
	{"speaker-kill", lanClass, true, time.Second, 6 * time.Second},
	{"speaker-freeze", lanClass, true, 100 * time.Millisecond, 8 * time.Second},
	{"speaker-rollout", lanClass, false, 0, 0},
	{"node-exclude", lanClass, true, 200 * time.Millisecond, 6 * time.Second},
	{"controller-kill", planeClass, false, time.Second, 6 * time.Second},
	{"controller-freeze", planeClass, false, 200 * time.Millisecond, 8 * time.Second},
	{"controller-rollout", planeClass, false, 0, 0},
	{"apiserver-kill", planeClass, false, 200 * time.Millisecond, 10 * time.Second},
	{"etcd-kill", planeClass, false, 200 * time.Millisecond, 10 * time.Second},
	{"controller-manager-kill", planeClass, false, 200 * time.Millisecond, 10 * time.Second},
	{"scheduler-kill", planeClass, false, 200 * time.Millisecond, 10 * time.Second},
	{"control-plane-freeze", planeClass, false, 300 * time.Millisecond, 12 * time.Second},
	{"kubelet-kill", nodeClass, true, 200 * time.Millisecond, 12 * time.Second},
	{"kube-proxy-kill", nodeClass, true, 200 * time.Millisecond, 12 * time.Second},
	{"endpoint-delete", serviceClass, false, 0, time.Second},
	{"endpoints-none", serviceClass, false, time.Second, 8 * time.Second},
	{"service-create", serviceClass, false, 2 * time.Second, 8 * time.Second},
	{"service-policy", serviceClass, false, time.Second, 6 * time.Second},
	{"service-pool", serviceClass, false, 2 * time.Second, 6 * time.Second},
	{"pool-removed", configClass, false, time.Second, 8 * time.Second},
	{"config-bad", configClass, false, time.Second, 8 * time.Second},
	{"config-deleted", configClass, false, time.Second, 8 * time.Second},
}

// clockPlan is drawn only if the user has asked for it: the wall clock is the machine's.
var clockPlan = planned{"clock-jump", clockClass, false, time.Second, 4 * time.Second}

// Nominal lengths of what follows the faults of a round. What they take in truth shifts the rounds after it.
const (
	recovery = 4 * time.Second // until all is ready again
	settle   = 5 * time.Second // from then on, until all must be right
	calm     = 3 * time.Second // for which all is right, before the next round
)

// round is some faults that may be in force together, and the calm after them.
type round []Fault

// length is how long the round is meant to last.
func (r round) length() (d time.Duration) {
	for _, f := range r {
		d = max(d, f.After+f.Length)
	}
	return d + recovery + settle + calm
}

// draw returns the rounds of a run: a pure function of its arguments. Every kind comes before one comes again.
func draw(seed uint64, length time.Duration, nodes []string, clock bool) (rounds []round) {
	kinds := slices.Clone(plans)
	if clock {
		kinds = append(kinds, clockPlan)
	}
	d := &dealer{rand.New(rand.NewPCG(seed, 1)), kinds, nil, nodes, 0}
	for at := time.Duration(0); at < length; {
		r := d.round()
		rounds = append(rounds, r)
		at += r.length()
	}
	return rounds
}

// dealer deals faults from a pack that is shuffled when it is used up.
type dealer struct {
	*rand.Rand
	kinds, pack []planned
	nodes       []string
	number      int
}

func (d *dealer) round() round {
	first := d.fault(d.deal(func(planned) bool { return true }))
	r := round{first}
	for range d.IntN(3) { // 0, 1 or 2 more
		next := d.deal(func(p planned) bool {
			return !slices.ContainsFunc(r, func(f Fault) bool { return clash(f.Kind, p.kind) })
		})
		f := d.fault(next)
		f.After = time.Duration(d.Int64N(int64(first.Length) + int64(time.Second)))
		for slices.ContainsFunc(r, func(o Fault) bool { return f.Node != "" && o.Node == f.Node }) {
			f.Node = d.nodes[d.IntN(len(d.nodes))]
		}
		r = append(r, f)
	}
	return r
}

// clash reports whether two kinds may not be in force together.
func clash(a, b string) bool { return classOf(a) == classOf(b) }

func classOf(kind string) class {
	if i := slices.IndexFunc(plans, func(p planned) bool { return p.kind == kind }); i >= 0 {
		return plans[i].class
	}
	return clockClass
}

// deal takes the next kind from the pack that fits.
func (d *dealer) deal(fits func(planned) bool) planned {
	i := slices.IndexFunc(d.pack, fits)
	if i < 0 {
		more := slices.Clone(d.kinds)
		d.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
		d.pack = append(d.pack, more...)
		i = slices.IndexFunc(d.pack, fits)
	}
	p := d.pack[i]
	d.pack = slices.Delete(d.pack, i, i+1)
	return p
}

func (d *dealer) fault(p planned) Fault {
	d.number++
	f := Fault{Number: d.number, Kind: p.kind, Length: p.short}
	if span := p.longer - p.short; span > 0 {
		// Short ones are the harder to get right.
		f.Length += min(span, time.Duration(d.ExpFloat64()*float64(span)/3)).Round(time.Millisecond)
	}
	if p.node {
		f.Node = d.nodes[d.IntN(len(d.nodes))]
	}
	if p.kind == "partition" {
		f.Apart = d.part()
	}
	return f
}

// part draws one side of a partition: some nodes, but not all, and now and then the control plane. The client is on the other.
func (d *dealer) part() (hosts []string) {
	for len(hosts) == 0 || len(hosts) == len(d.nodes) {
		hosts = nil
		for _, n := range d.nodes {
			if d.IntN(2) == 0 {
				hosts = append(hosts, n)
			}
		}
	}
	if d.IntN(2) == 0 {
		hosts = append(hosts, controlPlane)
	}
	return hosts
}

// String tells the plan of a fault, not how it went.
func (f Fault) String() string {
	what := f.Kind
	if f.Node != "" {
		what += " of " + f.Node
	}
	if len(f.Apart) > 0 {
		what += " of " + strings.Join(f.Apart, ", ")
	}
	return fmt.Sprintf("fault %d, %s for %s", f.Number, what, f.Length)
}
