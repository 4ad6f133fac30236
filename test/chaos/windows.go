package main

import (
	"slices"
	"time"
)

// What is promised, and so how long a fault may be seen.
const (
	// failover bounds the time without a holder when a node or a speaker is lost: the promise of the end-to-end tests.
	failover = time.Second
	// hung is the same for a process that stands still while its node answers, which only the heartbeats notice, and settles
	// members that are cautious after what has just happened.
	hung = 7 * time.Second
	// minority is the same in a part of the LAN that has no more than half of the nodes: it has to find out, by a roll call, that it is
	// not the one that is cut off.
	minority = 3 * time.Second
	// rejoin bounds the silence of a speaker that doubts what it knows: two seconds to reach a peer, and the fence.
	rejoin = 2500 * time.Millisecond
	// overlap bounds the time in which two nodes answer at a planned move, and reunion after a node or a part of the LAN has
	// come back; overlap and overlapHealed in the simulation.
	overlap = 500 * time.Millisecond
	reunion = time.Second
	// claim bounds the time from an address in a Service's status, or an endpoint, to a node that answers: half a second of
	// probing, and twice as much for kube-proxy. release bounds the way back.
	claim   = 3 * time.Second
	release = 3 * time.Second
	// lagLimit bounds the time until a client of the API server has reconnected after that was away: client-go waits ever longer
	// between its attempts, up to half a minute.
	lagLimit = 30 * time.Second
)

// effect is something that a fault may cause.
type effect int

const (
	gapEffect  effect = iota // nobody answers
	idleEffect               // nobody should
	dupEffect                // two answer
	moveEffect               // another node answers than before
	connEffect               // connections fail
	lagEffect                // somebody hears late of a change of Services, endpoints or pools
)

// window allows an effect for a while.
type window struct {
	effect
	interval
	node     string // only for addresses that this node holds, or held before; empty: all
	service  string // only for this Service; empty: all
	observer string // only as seen by this observer; empty: by all
	cluster  bool   // only for Services of policy Cluster
	fault    int    // its number
}

// churn is the Service whose endpoints come and go. It may have them on one node only.
const churn = "churn"

// windowsOf returns what all faults allow.
func windowsOf(h *History) (all []window) {
	for _, f := range h.Faults {
		if f.Ready == 0 {
			f.Ready = h.End
		}
		if f.Undone == 0 {
			f.Heal, f.Undone = max(f.Heal, f.Begin), f.Ready
		}
		b := builder{Fault: f, observers: h.Observers, nodes: h.Nodes}
		b.build()
		for i := range b.windows {
			b.windows[i].fault = f.Number
		}
		all = append(all, b.windows...)
	}
	for i, w := range all {
		if w.service == churn { // whoever hears late of its endpoints acts late
			all[i].to = postponed(all, w.to, claim)
		}
	}
	return all
}

// postponed returns when something is due that was due at a moment: some time after the lags that last until then.
func postponed(all []window, due, after time.Duration) time.Duration {
	for again := true; again; {
		again = false
		for _, w := range all {
			if w.effect == lagEffect && w.from < due && due < w.to+after {
				due, again = w.to+after, true
			}
		}
	}
	return due
}

// builder makes the windows of one fault.
type builder struct {
	Fault
	observers, nodes []Host
	windows          []window
}

func (b *builder) allow(from, to time.Duration, w window, effects ...effect) {
	for _, e := range effects {
		w.effect, w.interval = e, interval{from, to}
		b.windows = append(b.windows, w)
	}
}

func (b *builder) build() {
	here := window{node: b.Node}
	switch b.Kind {
	case "cable-cut", "node-freeze":
		b.lost(here, failover)
		b.allow(b.Begin, b.Undone+rejoin, window{cluster: true}, connEffect)
		b.lag()
	case "partition":
		b.parted()
		b.lag()
	case "speaker-kill":
		b.lost(here, failover)
		b.allow(b.Undone, b.Ready+failover, here, moveEffect, dupEffect) // it is replaced
	case "speaker-freeze": // it answers nothing when it goes on, so there are never two
		b.allow(b.Begin, b.Injected+hung, here, gapEffect, moveEffect, connEffect)
		b.allow(b.Heal, b.Undone+rejoin, here, gapEffect, moveEffect, connEffect)
	case "speaker-rollout":
		b.allow(b.Begin, b.Ready+failover, window{}, moveEffect, dupEffect)
		b.lag()
	case "node-exclude":
		b.allow(b.Begin, b.Injected+hung, here, moveEffect, dupEffect)
	case "kubelet-kill": // which takes all pods for unready until it has asked them
		b.allow(b.Heal, b.Ready+hung, here, moveEffect, dupEffect)
		b.lag()
	case "controller-kill", "controller-freeze", "controller-rollout", "apiserver-kill", "etcd-kill", "controller-manager-kill",
		"scheduler-kill", "control-plane-freeze", "pool-removed", "config-bad", "config-deleted", "kube-proxy-kill", "clock-jump":
		b.lag()
	case "service-policy", "service-create", "service-pool":
		for _, s := range b.Services {
			b.allow(b.Begin, b.Ready+claim, window{service: s}, connEffect)
		}
	case "endpoints-none":
		b.allow(b.Begin, b.Ready+claim, window{service: churn}, idleEffect)
	}
	if c := classOf(b.Kind); c == lanClass || c == nodeClass || c == serviceClass {
		b.allow(b.Begin, b.Ready+claim, window{service: churn}, gapEffect, dupEffect, moveEffect, connEffect)
	}
}

// lost allows what may be seen when a node is lost that is noticed within a time, and when it comes back.
func (b *builder) lost(w window, within time.Duration) {
	b.allow(b.Begin, b.Injected+within, w, gapEffect, moveEffect, connEffect)
	b.allow(b.Heal, b.Undone+rejoin, w, gapEffect, moveEffect, connEffect)
	b.allow(b.Heal, b.Undone+reunion, w, dupEffect)
}

// parted allows what may be seen of a partition from each place on the LAN.
func (b *builder) parted() {
	for _, o := range b.observers {
		apart := slices.Contains(b.Apart, o.Port)
		var away []Host
		for _, n := range b.nodes {
			if slices.Contains(b.Apart, n.Name) != apart {
				away = append(away, n)
			}
		}
		if 2*len(away) >= len(b.nodes) {
			b.allow(b.Begin, b.Injected+minority, window{observer: o.Name}, gapEffect, moveEffect, connEffect, dupEffect)
			continue
		}
		for _, n := range away {
			b.allow(b.Begin, b.Injected+failover, window{observer: o.Name, node: n.Name}, gapEffect, moveEffect, connEffect)
		}
	}
	b.allow(b.Begin, b.Undone+rejoin, window{cluster: true}, connEffect)
	b.allow(b.Heal, b.Undone+rejoin, window{}, gapEffect, moveEffect, connEffect)
	b.allow(b.Heal, b.Undone+reunion, window{}, dupEffect)
}

// lag allows clients of the API server to be late: while the fault is in force, and until they have reconnected.
func (b *builder) lag() {
	b.allow(b.Begin, b.Ready+min(claim+b.Undone-b.Begin, lagLimit), window{}, lagEffect)
}
