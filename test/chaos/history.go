package main

import (
	"net/netip"
	"slices"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// History is all that was seen and done in a run. Times count from its start, by a clock that is never set.
type History struct {
	Start     time.Time // by the wall clock, as logs have it
	Nodes     []Host
	Observers []Host // who asked for addresses, each from a place of its own on the LAN
	Faults    []Fault
	Frames    []Frame // in the order of their times
	Changes   []Change
	Attempts  []Attempt
	Controls  []Attempt // connections to the nodes' own addresses, which Invar has no part in
	Pauses    []Pause
	End       time.Duration // of the last recording
}

// Host is a host on the LAN: a node, or one that asks.
type Host struct {
	Name string
	Port string // behind which host's port on the switch it is
	MAC  cluster.MAC
}

// Frame is a recorded question for an address, or an answer.
type Frame struct {
	At       time.Duration
	Port     string
	To       cluster.MAC
	Question bool
	MAC      cluster.MAC // of who speaks, by its own words
	Addr     netip.Addr  // which address is asked for, or told of
}

// Change is what a Service was seen to be from a moment on.
type Change struct {
	At      time.Duration
	Service string // its name
	UID     string
	Addrs   []netip.Addr
	Sharing string // its key, empty if it does not share
	Local   bool   // its policy
	Deleted bool
}

// Attempt is one attempt to open a connection: to a Service, or to a node.
type Attempt struct {
	At     time.Duration
	Target string // name of the Service or the node
	Addr   netip.Addr
	Err    string // empty: it was established
	Reset  bool
}

// Pause is a time in which a thread that wanted to run did not: the machine was busy, or stood still.
type Pause struct {
	At, Lost time.Duration
	Where    string // machine, or a node whose speaker was kept waiting
}

// Fault is one fault: what was planned, and when it happened.
type Fault struct {
	Number int
	Kind   string
	Node   string   // which it befalls, if it befalls one
	Apart  []string // of a partition: the hosts on its other side
	After  time.Duration
	Length time.Duration

	// Begin and Injected are when the injecting began and was done, Heal and Undone the same of the undoing; somewhere in between
	// the fault is in force. Ready is when all was ready again; 0 if it was not within patience.
	Begin, Injected, Heal, Undone, Ready time.Duration
	Services                             []string // those that it is about
}

// interval is a time with an end, which is not part of it.
type interval struct{ from, to time.Duration }

func (i interval) length() time.Duration { return max(0, i.to-i.from) }

func (i interval) overlaps(o interval) bool { return i.from < o.to && o.from < i.to }

func (i interval) has(t time.Duration) bool { return i.from <= t && t < i.to }

// outside returns for how long of i none of the others lasts.
func (i interval) outside(others []interval) time.Duration {
	slices.SortFunc(others, func(a, b interval) int { return int(a.from - b.from) })
	left, at := time.Duration(0), i.from
	for _, o := range others {
		if o.to <= at {
			continue
		}
		if o.from >= i.to {
			break
		}
		left += max(0, o.from-at)
		at = max(at, o.to)
	}
	return left + max(0, i.to-at)
}

// host returns the name of the host with a MAC, empty if there is none.
func host(hosts []Host, mac cluster.MAC) string {
	i := slices.IndexFunc(hosts, func(h Host) bool { return h.MAC == mac })
	if i < 0 {
		return ""
	}
	return hosts[i].Name
}
