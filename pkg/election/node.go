package election

import (
	"net/netip"
	"slices"
	"time"
)

// Timing of what has no better signal.
const (
	// Fence is how long a node is silent that doubts what it knows and reaches no peer to ask.
	Fence = 500 * time.Millisecond
	// Modesty is how long a node claims nothing after its peers have cleared a doubt: a peer that it took for dead lives
	// again here only when that peer has heard of it and denied it.
	Modesty = time.Second

	// Stall is how long a node may not run before it has to reckon with claims that it has not heard of: the wire watch
	// replaces a machine that stands still sooner than pauseLimit.
	Stall = 250 * time.Millisecond

	takeSoon   = 200 * time.Millisecond // before an address is taken a second time, doubled each time if the holder lives
	takeLater  = 10 * time.Second       // at most
	takeForget = time.Minute            // after which a claim is a first one again
)

// View is what one speaker sees at a moment.
type View struct {
	Now time.Time
	// Addresses are those that somebody wants, each once, in their order.
	Addresses []Address
	// Live are the nodes with a live speaker, Draining those of them that are about to leave.
	Live, Draining map[string]bool
	// Known is the number of nodes with a speaker, dead or alive, this one included.
	Known int
	// Claims are the winning claims as known here. Decide adds what it claims.
	Claims Claims
	// Able reports whether this node can carry any of the addresses.
	Able bool
	// Alone reports that no peer is in sight, though the last one that was did not take its leave.
	Alone bool
	// Deaf reports that on the wire all nodes are mute that this one watches: see [Sentry.Mute]. Hears reports that one of them
	// answers. Neither is true as long as none of them has ever answered.
	Deaf, Hears bool
	// Bystanders reports that hosts on the LAN are heard that are no peers.
	Bystanders bool
	// Blocked reports that the speakers can't talk to each other, though they live. Then claims mean nothing, and Addresses and
	// Live come from another source that is the same for all nodes, the API server.
	Blocked bool
	// Free reports whether the LAN was asked for an address and nobody answered. Nil: the LAN need not be asked.
	Free func(netip.Addr) bool
}

// Decision is what a speaker should do now.
type Decision struct {
	// Doubt, if it has a cause, is why what this node knows may be from the past. The speaker must answer for nothing, ask
	// its peers for their claims, and say by [Node.Asked] how that went. The rest of the Decision is empty.
	Doubt Doubt
	// Hold are the addresses to answer for.
	Hold []netip.Addr
	// Lone are addresses to answer for and to announce without a claim: this node is alone on its side of the LAN.
	Lone []netip.Addr
	// Quiet are addresses to answer for without announcing them: it may be deaf.
	Quiet []netip.Addr
	// Probe are the addresses that this node will hold if the LAN knows of nobody who has them.
	Probe []netip.Addr
	// Claims are new claims of this node. The peers are to hear of them when Hold is in force, not before: the former holder
	// answers until it hears.
	Claims []Claim
	// Moves says for each of Claims whom the address is taken from, and why.
	Moves []Move
	// Again is when to decide again though nothing has changed; zero: no need.
	Again time.Time
}

// Move is the change of an address's holder.
type Move struct {
	Addr     netip.Addr
	From, To string // From is empty if nobody held it
	Cause    Cause
}

// Cause is why an address gets another holder.
type Cause string

// The causes.
const (
	CauseFirst     Cause = "first"     // nobody held it
	CauseFailure   Cause = "failure"   // the holder is gone
	CauseDrain     Cause = "drain"     // the holder is about to leave
	CauseUnfit     Cause = "unfit"     // the holder may not announce it any more: excluded, without an endpoint, without a link
	CausePreferred Cause = "preferred" // its user wants it elsewhere
)

// cause returns why a is taken from holder, which may be empty.
func (v *View) cause(a Address, holder string) Cause {
	switch _, fit := slices.BinarySearch(a.Eligible, holder); {
	case holder == "":
		return CauseFirst
	case !v.Live[holder]:
		return CauseFailure
	case v.Draining[holder]:
		return CauseDrain
	case !fit:
		return CauseUnfit
	}
	return CausePreferred
}

// Doubt is why what a node knows may be from the past.
type Doubt struct {
	Cause string
	// Wait is for how long a peer may take to be reached.
	Wait time.Duration
}

// The doubts. A node whose link was down may need more than a second to reach a peer: the kernel repeats an ARP request
// that nobody answered only then. A node that is the last one should not take long.
var (
	DoubtLink   = Doubt{"link is back", 2 * time.Second}
	DoubtAlone  = Doubt{"no peer in sight", 500 * time.Millisecond}
	DoubtReturn = Doubt{"peers are back", time.Second}
	DoubtPaused = Doubt{"paused", time.Second}
)

// Node decides for one speaker. It has no clock, no goroutine and no lock: the same calls give the same decisions.
type Node struct {
	name       string
	pauseLimit time.Duration

	stalled bool      // there was a pause
	able    bool      // as seen last
	alone   bool      // as seen last
	company bool      // another node lived, as seen last
	deaf    bool      // it was, and has not heard anybody since
	silent  time.Time // until then it answers for nothing
	modest  time.Time // until then it claims nothing

	taken map[netip.Addr]taken // what this node took from peers
	// wanted are the addresses of the last View. unwanted holds, for those that somebody stopped wanting, how far their claims
	// had come by then: such a claim says nothing about who uses the address now.
	wanted   map[netip.Addr]bool
	unwanted map[netip.Addr]uint64
	heard    map[netip.Addr]heard // the claims of the last View
	// bare are the addresses held without a claim.
	bare map[netip.Addr]bool
	// served are those that it answers for without one, alone on its side of the LAN.
	served map[netip.Addr]bool
}

// heard is a claim, and when this node has heard of it, if it took the holder for dead by then.
type heard struct {
	Claim
	sign time.Time
}

// taken is when a node last took an address from a peer, and for how long it lets a peer have it back since then.
type taken struct {
	at   time.Time
	wait time.Duration
}

// NewNode returns the Node of that name. pauseLimit is the least time without a sign of life after which peers may have
// replaced it.
func NewNode(name string, pauseLimit time.Duration) *Node {
	return &Node{
		name:       name,
		pauseLimit: pauseLimit,
		able:       true, // so that the start does not look like a link that came back
		taken:      map[netip.Addr]taken{},
		wanted:     map[netip.Addr]bool{},
		unwanted:   map[netip.Addr]uint64{},
		heard:      map[netip.Addr]heard{},
	}
}

// Paused is to be told before each Decide for how long this node did not run since the last one, as [Pulse.Pause] has it. It reports
// whether that was so long that peers may have replaced it; then the answer is [DoubtPaused]. After a shorter pause it answers
// as before, but claims nothing for a moment: see [Node.Stalled].
func (n *Node) Paused(now time.Time, pause time.Duration) bool {
	if pause > Stall {
		n.stalled = true
		if modest := now.Add(takeSoon); modest.After(n.modest) {
			n.modest = modest
		}
	}
	return pause > n.pauseLimit
}

// Stalled reports, once for each, a pause after which this node may have missed claims. Without ceasing to answer it should
// exchange claims with its peers.
func (n *Node) Stalled() bool {
	stalled := n.stalled
	n.stalled = false
	return stalled
}

// Decide says what to do in the situation v.
func (n *Node) Decide(v View) Decision {
	n.noteWanted(v)
	n.noteHeard(v)
	if v.Blocked {
		return n.chooseBare(v)
	}
	if d := n.doubt(v); d.Cause != "" {
		return Decision{Doubt: d}
	}
	if v.Now.Before(n.silent) {
		return Decision{Again: n.silent}
	}
	return n.choose(v)
}

// Asked tells the outcome of a doubt: whether a peer was reached and its claims are known now, or there is no peer to ask.
func (n *Node) Asked(now time.Time, reached bool) {
	if reached {
		n.silent, n.modest, n.deaf = time.Time{}, now.Add(Modesty), false
	} else {
		n.silent = now.Add(Fence)
	}
}

// Relievable reports whether this node holds an address that another one should.
func (n *Node) Relievable(v View) bool {
	for addr, node := range Plan(v.Addresses, v.Draining, v.Claims) {
		if v.Claims[addr].Node == n.name && node != n.name {
			return true
		}
	}
	return false
}

// noteWanted remembers how far the claims had come of addresses that nobody wants any more.
func (n *Node) noteWanted(v View) {
	wanted := make(map[netip.Addr]bool, len(v.Addresses))
	for _, a := range v.Addresses {
		wanted[a.Addr] = true
	}
	for addr := range n.wanted {
		if !wanted[addr] {
			n.unwanted[addr] = v.Claims[addr].Seq
		}
	}
	n.wanted = wanted
}

// noteHeard remembers when nodes have claimed that this node takes for dead.
func (n *Node) noteHeard(v View) {
	now := make(map[netip.Addr]heard, len(v.Addresses))
	for _, a := range v.Addresses {
		h := n.heard[a.Addr]
		if c, ok := v.Claims[a.Addr]; ok && c != h.Claim {
			h = heard{Claim: c}
			if !v.Live[c.Node] {
				h.sign = v.Now
			}
		}
		now[a.Addr] = h
	}
	n.heard = now
}

// doubt compares the situation with the last one.
func (n *Node) doubt(v View) (d Doubt) {
	switch {
	case v.Able && !n.able:
		d = DoubtLink
	case v.Alone && !n.alone && !v.Deaf && n.company: // otherwise the wire says, or has said, the same: nothing to doubt
		d = DoubtAlone
	case !v.Alone && n.alone, v.Hears && n.deaf:
		d = DoubtReturn
	}
	n.able, n.alone, n.deaf = v.Able, v.Alone, v.Deaf || n.deaf && !v.Hears
	n.company = len(v.Live) > 1 || len(v.Live) == 1 && !v.Live[n.name]
	return d
}

// choose follows the plan.
func (n *Node) choose(v View) Decision {
	var d Decision
	plan := Plan(v.Addresses, v.Draining, v.Claims)
	for _, a := range v.Addresses {
		switch n.step(v, a, plan[a.Addr], &d) {
		case hold:
			d.Hold = append(d.Hold, a.Addr)
		case lone:
			d.Lone = append(d.Lone, a.Addr)
		case quiet:
			d.Quiet = append(d.Quiet, a.Addr)
		case probe:
			d.Probe = append(d.Probe, a.Addr)
		case claim:
			n.take(v, a, &d)
		}
	}
	n.bare = nil // what was held so is claimed now
	n.served = map[netip.Addr]bool{}
	for _, addr := range slices.Concat(d.Lone, d.Quiet) {
		n.served[addr] = true
	}
	return d
}

// chooseBare follows the plan that all nodes make alike if they leave claims aside. Whether they really all do is for the LAN to
// say: nothing is held that another host answers for.
func (n *Node) chooseBare(v View) Decision {
	var d Decision
	plan := Plan(v.Addresses, v.Draining, nil)
	bare := make(map[netip.Addr]bool)
	for _, a := range v.Addresses {
		addr, current := a.Addr, v.Claims[a.Addr]
		own := current.Node == n.name && current.Seq > n.unwanted[addr]
		switch {
		case plan[addr] != n.name:
		case n.bare[addr], own, v.Free == nil, v.Free(addr):
			bare[addr] = true
			d.Hold = append(d.Hold, addr)
		default:
			d.Probe = append(d.Probe, addr)
		}
	}
	n.bare = bare
	return d
}

// take claims a.
func (n *Node) take(v View, a Address, d *Decision) {
	d.Moves = append(d.Moves, n.move(v, a))
	c := v.Claims.Next(a.Addr, n.name)
	v.Claims.Merge(c)
	d.Claims = append(d.Claims, c)
	d.Hold = append(d.Hold, a.Addr)
}

// move says what it means that this node takes a. A claim from the time before somebody wanted a is no holder's.
func (n *Node) move(v View, a Address) Move {
	m := Move{Addr: a.Addr, To: n.name, Cause: CauseFirst}
	if current := v.Claims[a.Addr]; current.Seq > n.unwanted[a.Addr] {
		m.From, m.Cause = current.Node, v.cause(a, current.Node)
	}
	return m
}

// step is what to do about one address.
type step int

const (
	leave step = iota // to others
	hold
	lone
	quiet
	probe
	claim
)

// step decides about a, which planned should hold. What has to wait asks for another decision.
//
// That all of several peers are gone at once is less likely than that this node is cut off, or can't hear. So it claims
// nothing then, and when the others are back nothing has moved. When there is no doubt that it is alone it serves its own side:
// only whoever asks it as long as it hears nobody else either, since a node that can send and not hear must not draw everything to
// itself.
func (n *Node) step(v View, a Address, planned string, d *Decision) step {
	current := v.Claims[a.Addr]
	proven := current.Seq > n.unwanted[a.Addr] // it was claimed since somebody began to want it
	switch {
	case proven && current.Node == n.name:
		if len(a.Eligible) == 0 {
			return leave
		}
		return hold // even if another node should: until that one has claimed it
	case n.bare[a.Addr] && !proven && len(a.Eligible) > 0:
		return claim // held without one, while claims meant nothing
	case planned != n.name:
		return leave
	case v.Known > 2 && v.Alone && !v.Hears:
		return n.serve(v, a.Addr, proven)
	case v.Known > 2 && (v.Alone || v.Deaf):
		return leave
	case v.Now.Before(n.modest):
		d.again(n.modest)
		return leave
	case !proven:
		if v.Free != nil && !v.Free(a.Addr) {
			return probe
		}
		return claim
	}
	if rest := n.mayTake(v, a.Addr, current.Node); !rest.IsZero() {
		d.again(rest)
		return leave
	}
	return claim
}

// serve decides about addr, which nobody else on this side of the LAN is left to hold.
func (n *Node) serve(v View, addr netip.Addr, proven bool) step {
	switch {
	case !proven && !n.served[addr] && v.Free != nil && !v.Free(addr):
		return probe
	case v.Bystanders:
		return lone
	}
	return quiet
}

// mayTake returns when this node may claim addr from holder, zero for now. Two nodes whose caches differ may each hold the
// other unfit, and two that don't hear each other's answers may each hold the other dead; without a pause between one claim
// and the next they would take the address from each other thousands of times a second until they agree.
//
// A failover waits for nothing, with two exceptions: when this node took the address a moment ago, and when the holder has
// claimed it since this node took that one for dead. A claim is a sign of life: after a partition it may come before the wire
// has another one.
func (n *Node) mayTake(v View, addr netip.Addr, holder string) time.Time {
	t := n.taken[addr]
	until := t.at.Add(t.wait)
	if !v.Live[holder] || v.Draining[holder] {
		until = t.at.Add(min(t.wait, takeSoon))
	}
	if sign := n.heard[addr].sign.Add(takeSoon); !v.Live[holder] && sign.After(until) {
		until = sign
	}
	if v.Now.Before(until) {
		return until
	}
	if v.Now.Sub(t.at) > takeForget {
		t.wait = 0
	}
	n.taken[addr] = taken{at: v.Now, wait: min(max(2*t.wait, takeSoon), takeLater)}
	return time.Time{}
}

func (d *Decision) again(at time.Time) {
	if d.Again.IsZero() || at.Before(d.Again) {
		d.Again = at
	}
}
