package main

import (
	"math"
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/membership"
)

// memberlist's gossip: what is news is passed on to a few random members every interval, a few times.
const (
	gossipInterval   = membership.GossipInterval
	gossipNodes      = 3
	gossipMult       = 4 // RetransmitMult
	gossipToTheDead  = 30 * time.Second
	gossipPacket     = 1300 // bytes that one packet has room for
	statementSize    = 100  // about that of an alive message with metadata
	reportSize       = 100
	claimSize        = 12 // an IPv4 claim with its share of the names
	claimsInDatagram = 44
)

// message is one broadcast: a statement of memberlist's, or claims, or a report.
type message struct {
	statement *statement
	claims    []election.Claim
	report    *report
}

func (m *message) size() int {
	switch {
	case m.statement != nil:
		return statementSize
	case m.report != nil:
		return reportSize
	}
	return claimSize * len(m.claims)
}

// gossip is what one process still has to pass on.
type gossip struct {
	swim     *swim
	queue    []queued
	ticking  bool
	finished func(statement) // called when a statement has been passed on often enough
}

type queued struct {
	message
	sent int
}

// state queues a statement. It takes the place of an older one about the same node.
func (g *gossip) state(m statement) {
	g.queue = slices.DeleteFunc(g.queue, func(q queued) bool { return q.statement != nil && q.statement.node == m.node })
	g.add(message{statement: &m})
}

func (g *gossip) add(m message) {
	g.queue = append(g.queue, queued{message: m})
	if !g.ticking {
		g.ticking = true
		g.swim.p.after(g.swim.p.between(0, gossipInterval), g.tick)
	}
}

// tick sends what there is to a few members.
func (g *gossip) tick() {
	p := g.swim.p
	limit := gossipMult * int(math.Ceil(math.Log10(float64(g.swim.known()+1))))
	nodes := g.swim.choose(gossipNodes, func(m *member) bool {
		return m.status == alive || m.status == suspect || m.status == dead && p.now-m.since <= gossipToTheDead
	})
	for _, node := range nodes {
		g.send(node, limit)
	}
	if g.ticking = len(g.queue) > 0; g.ticking {
		p.after(gossipInterval, g.tick)
	}
}

// send fills one packet, beginning with what was sent least often.
func (g *gossip) send(node, limit int) {
	slices.SortStableFunc(g.queue, func(a, b queued) int { return a.sent - b.sent })
	var packet []message
	room := gossipPacket
	for i := range g.queue {
		if q := &g.queue[i]; q.size() <= room {
			room -= q.size()
			q.sent++
			packet = append(packet, q.message)
		}
	}
	if len(packet) == 0 {
		return
	}
	g.swim.p.datagram(g.swim.p.id, node, func(peer *process) {
		for i := range packet {
			peer.receive(&packet[i])
		}
	})
	var over []statement
	g.queue = slices.DeleteFunc(g.queue, func(q queued) bool {
		if q.sent >= limit && q.statement != nil {
			over = append(over, *q.statement)
		}
		return q.sent >= limit
	})
	for _, m := range over {
		if g.finished != nil {
			g.finished(m)
		}
	}
}
