package main

import "time"

// Gratuitous frames of pkg/layer2: when they are sent after an address was taken.
var announcements = []time.Duration{
	0, 200 * time.Millisecond, 1200 * time.Millisecond, 2300 * time.Millisecond, 3400 * time.Millisecond,
	4500 * time.Millisecond,
}

// When pkg/speaker asks a peer that announces what it holds itself.
const (
	claimWait = 100 * time.Millisecond // for a claim to arrive after its announcement
	meetEvery = 500 * time.Millisecond // between two exchanges with one peer
)

// announce sends gratuitous frames for addresses, as long as the node answers for them.
func (p *process) announce(addrs addrSet) {
	if addrs == 0 || !p.sim.sightings {
		return
	}
	for _, wait := range announcements {
		p.after(wait, func() {
			for _, m := range p.machines {
				if still := addrs & p.answers; still != 0 && m != p.machine && p.reaches(p.id, m.id) && !p.chance(p.loss) {
					p.clock.after(p.delay(), func() { m.sees(p.id, still) })
				}
			}
		})
	}
}

// sees is the arrival of a gratuitous frame. If this node holds the same address a moment later, views differ, and it asks that
// peer.
func (m *machine) sees(from int, addrs addrSet) {
	p := m.process
	if p == nil || addrs&m.answers() == 0 {
		return
	}
	p.after(claimWait, func() {
		if addrs&p.ledgerHolds() == 0 || !p.members.has(from) || p.met[from] > 0 && p.now-p.met[from] < meetEvery {
			return
		}
		p.met[from] = p.now
		p.trace("sees its address announced by", nodeName(from))
		p.exchange(from, func(bool) {})
	})
}

// ledgerHolds returns the addresses that this process has claimed, as far as it knows.
func (p *process) ledgerHolds() addrSet { return addrsIn(p.ledger.Own()) }
