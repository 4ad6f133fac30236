package main

import "time"

// profile says which measures the model takes that are a matter of pkg/membership and pkg/speaker, so that their worth can be
// measured: see `-without`.
type profile struct {
	// denial is how long a member that is said to be dead may take to deny it. A node that was cut off says of others that
	// they are dead, and memberlist believes it.
	denial time.Duration
	// refresh: whom a speaker finds silent is told anew also when one that was is not watched any more.
	refresh bool
	// direct: what a speaker tells about itself goes to each member by a datagram too, not by the gossip alone.
	direct bool
	// background: it goes on while that is being told.
	background bool
	// seek: nodes that are listed and no members are asked on the wire too, a few by each, and met when they answer.
	seek bool
	// sightings: a speaker that sees an address announced that it holds itself asks that peer.
	sightings bool
	// rolls: one that hears nobody on the wire, or has a node in question, calls the roll and does not wait for the heartbeats.
	rolls bool
}

// measures are those that the speakers take.
var measures = profile{denial: 200 * time.Millisecond, refresh: true, direct: true, background: true, seek: true, sightings: true, rolls: true}

// without returns the profile without one measure, or none at all.
func (p profile) without(name string) (profile, bool) {
	switch name {
	case "":
	case "denial":
		p.denial = 0
	case "refresh":
		p.refresh = false
	case "direct":
		p.direct = false
	case "background":
		p.background = false
	case "seek":
		p.seek = false
	case "sightings":
		p.sightings = false
	case "rolls":
		p.rolls = false
	case "all":
		p = profile{}
	default:
		return p, false
	}
	return p, true
}
