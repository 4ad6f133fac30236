package explain

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/ipam"
)

// A Fate is what a new configuration does to a Service.
type Fate string

// The fates.
const (
	Keeps    Fate = "keeps"    // its addresses stay
	Gets     Fate = "gets"     // it has no address and is given one
	Moves    Fate = "moves"    // its addresses change
	Waits    Fate = "waits"    // it has no address and is given none
	Stranded Fate = "stranded" // its addresses stay, and one of them lies in no pool
)

// A Plan is what a new configuration would do.
type Plan struct {
	Pools    []PoolChange `json:"pools"`    // those of the new configuration in its order, then those removed
	Services []Outcome    `json:"services"` // the oldest first
}

// An Outcome is what becomes of one Service.
type Outcome struct {
	Service string       `json:"service"` // "namespace/name"
	Fate    Fate         `json:"fate"`
	Before  []netip.Addr `json:"before"`
	After   []netip.Addr `json:"after"`
	Pools   []string     `json:"pools"` // of each of After; "" if that is not known
	// Stranded are those of After that lie in no pool, and Already says that they do so today.
	Stranded []netip.Addr `json:"stranded,omitempty"`
	Already  bool         `json:"already,omitempty"`
	// Reason and Message are those of the condition that the Service will have.
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Strands returns the Services that next strands and that are not stranded today.
func (p *Plan) Strands() []Outcome {
	var out []Outcome
	for _, o := range p.Services {
		if o.Fate == Stranded && !o.Already {
			out = append(out, o)
		}
	}
	return out
}

// Predict tells what becomes of Services, of which the API server shows services, when configuration next takes the place of
// now. now is nil if none is in force. It does what the controller does: what Services show is theirs; then each is decided
// on, the oldest first, and those that wait once more whenever something comes free.
//
// The controller's status writes take time and go on side by side, so when several Services give up addresses at once, others
// may find them free in another order than here.
func Predict(now, next *config.Config, services []Applicant) (*Plan, error) {
	c := &course{alloc: ipam.New(), services: slices.Clone(services)}
	slices.SortFunc(c.services, func(a, b Applicant) int { return ByAge(a.Service, a.Created, b.Service, b.Created) })
	if now == nil {
		now = &config.Config{}
	}
	if err := c.alloc.SetPools(now.AddressPools()); err != nil {
		return nil, fmt.Errorf("pools in force: %w", err)
	}
	for i := range c.services {
		_ = c.services[i].Adopt(c.alloc) // what isn't adopted is seen in the outcome
	}
	before := c.alloc.Usage()
	strandedNow := c.alloc.Stranded()
	if err := c.alloc.SetPools(next.AddressPools()); err != nil {
		return nil, fmt.Errorf("new pools: %w", err)
	}
	c.run()
	c.lookAgain()
	plan := &Plan{Pools: poolChanges(now, next, before, c.alloc.Usage())}
	for i := range c.services {
		plan.Services = append(plan.Services, outcome(&c.services[i], &c.decisions[i], strandedNow[c.services[i].Service]))
	}
	return plan, nil
}

// A course is what the controller does from a change of the configuration until all is quiet.
type course struct {
	alloc     *ipam.Allocator
	services  []Applicant // the oldest first
	decisions []Decision
	queue     []int  // indices of services
	queued    []bool // whether a Service is in the queue
}

// run decides on every Service, and again on those that wait when something comes free.
func (c *course) run() {
	c.decisions, c.queued = make([]Decision, len(c.services)), make([]bool, len(c.services))
	for i := range c.services {
		c.add(i)
	}
	for len(c.queue) > 0 {
		i := c.queue[0]
		c.queue, c.queued[i] = c.queue[1:], false
		d, freed := c.services[i].Decide(c.alloc)
		c.decisions[i] = d
		if c.alloc.Confirm(c.services[i].Service, d.Addrs) || freed {
			c.retryWaiting()
		}
	}
}

// lookAgain brings up to date what those that wait are told: others may have taken addresses since.
func (c *course) lookAgain() {
	for i := range c.services {
		if c.decisions[i].Waits() {
			c.decisions[i], _ = c.services[i].Decide(c.alloc)
		}
	}
}

// retryWaiting adds every Service that waits.
func (c *course) retryWaiting() {
	for i := range c.services {
		if c.decisions[i].Waits() {
			c.add(i)
		}
	}
}

// add puts a Service at the end of the queue, unless it is in there.
func (c *course) add(i int) {
	if !c.queued[i] {
		c.queue, c.queued[i] = append(c.queue, i), true
	}
}

// outcome compares what a Service shows with what it will have. stranded are the addresses that lie in no pool now.
func outcome(a *Applicant, d *Decision, stranded []netip.Addr) Outcome {
	o := Outcome{
		Service: a.Service, Before: a.Shown, After: d.Addrs, Pools: d.Pools, Stranded: d.Stranded,
		Reason: d.Reason, Message: d.Message, Fate: Moves,
	}
	isNew := func(addr netip.Addr) bool { return !slices.Contains(stranded, addr) }
	switch {
	case len(d.Stranded) > 0:
		o.Fate, o.Already = Stranded, !slices.ContainsFunc(d.Stranded, isNew)
	case len(d.Addrs) == 0:
		o.Fate = Waits
	case len(a.Shown) == 0:
		o.Fate = Gets
	case sameAddrs(a.Shown, d.Addrs):
		o.Fate = Keeps
	}
	return o
}

// sameAddrs reports whether two lists have the same addresses, in whatever order.
func sameAddrs(a, b []netip.Addr) bool {
	return slices.Equal(slices.SortedFunc(slices.Values(a), netip.Addr.Compare), slices.SortedFunc(slices.Values(b), netip.Addr.Compare))
}
