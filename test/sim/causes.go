package main

import (
	"time"

	"github.com/invar-lb/invar/pkg/election"
)

// auditor checks that no address moves without a cause.
type auditor struct {
	*checker
	claimedAt     [][maxAddrs]time.Duration // by node
	claims, moves int
}

// race is how long a claim may take to get around: nodes that claim an address within that time did not know better.
const race = 200 * time.Millisecond

func newAuditor(c *checker) *auditor {
	return &auditor{checker: c, claimedAt: make([][maxAddrs]time.Duration, len(c.machines))}
}

// claimed checks claims: one that takes an address from a node needs a cause that lies with that node, or with the address.
// That the claimant itself was away is none: who returns takes nothing back.
func (c *auditor) claimed(p *process, claims []election.Claim) {
	c.claims += len(claims)
	known := p.ledger.Claims()
	for _, claim := range claims {
		a := addrID(claim.Addr)
		if before, ok := known[claim.Addr]; ok && before.Node != p.name {
			c.check(p, c.id(before.Node), a)
		}
		for _, part := range c.components {
			if part.has(p.id) {
				c.checkHolders(p, part, known[claim.Addr], a)
			}
		}
		c.claimedAt[p.id][a] = c.now
	}
}

// checkHolders checks a claim of p, which knows of another, against the nodes that answer for the address with a claim that p
// ought to know.
func (c *auditor) checkHolders(p *process, part nodeSet, known election.Claim, a int) {
	for _, holder := range part.list() {
		m := c.machines[holder]
		if holder == p.id || !m.answers().has(a) {
			continue
		}
		c.moves++
		if m.process.ledger.Claims()[addrOf(a)].Beats(known) && c.now-c.claimedAt[holder][a] > race {
			c.check(p, holder, a)
		}
	}
}

func (c *auditor) check(p *process, holder, a int) {
	if c.cause(p.id, holder, a) {
		return
	}
	c.trace(p.name, "sees alive", p.present())
	c.trace(p.name, "sees able", p.candidates(p.members))
	c.trace(p.name, "knows", p.ledger.Claims()[addrOf(a)])
	c.fail("%s takes address %d from %s without a cause", p.name, a, nodeName(holder))
}

// cause reports whether something excuses that claimant takes an address from holder.
func (c *auditor) cause(claimant, holder, a int) bool {
	if c.cluster.prefer[a] == claimant {
		return true
	}
	for _, f := range c.faults {
		if f.started && (!f.over || c.now-f.end < settle) && f.excuses(claimant, holder, a) {
			return true
		}
	}
	return false
}

// balanced checks that no node holds more than one address more than another, where all may hold all and nothing was lost.
func (c *auditor) balanced() {
	least, most := maxAddrs, 0
	for _, m := range c.machines {
		n := len(m.answers().list())
		least, most = min(least, n), max(most, n)
	}
	if most-least > 1 {
		c.fail("one node holds %d addresses and another one %d", most, least)
	}
}
