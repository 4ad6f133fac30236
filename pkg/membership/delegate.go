package membership

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist asks of us. Its methods run on memberlist's goroutines.
type delegate struct{ m *Members }

var _ memberlist.Delegate = delegate{}

func (d delegate) NodeMeta(limit int) []byte {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	b := encodeMeta(d.m.meta)
	if len(b) > limit {
		panic("membership: Meta does not fit memberlist's limit")
	}
	return b
}

func (d delegate) NotifyMsg(msg []byte) { d.m.receive(msg) }

func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.m.queue.GetBroadcasts(overhead, limit)
}

// LocalState returns all that this node knows for a peer with whom it joins. What two members exchange from time to time, for the
// case that a message got lost, is a digest: see [Members.compare].
func (d delegate) LocalState(join bool) []byte {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if !join {
		return encodeDigest(d.m.digest())
	}
	return encodeState(d.m.ledger.All(), d.m.reports.all())
}

func (d delegate) MergeRemoteState(buf []byte, _ bool) { d.m.receive(buf) }

// events says that something changed: what is true now is asked for by Peers. It also notes who vanished.
type events struct{ m *Members }

var _ memberlist.EventDelegate = events{}

func (e events) NotifyJoin(n *memberlist.Node) {
	n = e.note(n)
	e.m.cfg.Logger.Info("speaker joined", "node", n.Name, "ip", n.Addr.String())
	if n.Name != e.m.cfg.Node {
		go e.m.greet(n) // memberlist holds its lock during this call
	}
	e.m.cfg.OnChange()
}

func (e events) NotifyLeave(n *memberlist.Node) {
	c := *n
	e.m.mu.Lock()
	meta := e.m.metaOf(&c)
	lost := !meta.Draining && !meta.Observer // one that takes its leave says so before
	e.m.dying[c.Name] = lost
	e.m.mu.Unlock()
	if lost {
		go e.m.letDeny(&c)
	} else {
		e.m.drop(&c, meta)
	}
}

// letDeny gives a member that is said to be dead the time to show that it is not. Then it stays, and the gossip brings its denial, a
// NotifyJoin: it hears there what is said of it, and sooner from those few that tell it.
func (m *Members) letDeny(n *memberlist.Node) {
	at := netip.AddrPortFrom(addrOf(n), n.Port)
	join := func() { _, _ = m.Join([]netip.AddrPort{at}) }
	if rand.N(max(1, m.numMembers())) < Accusers {
		go join()
	}
	if m.answers(n.Name, at) {
		if !m.pause(DenyLater) {
			return
		}
		for range 2 { // with the first it hears what is said of it, with the second it denies that
			if !m.isDying(n.Name) {
				break
			}
			if join(); !m.pause(denyAsk) {
				return
			}
		}
	}
	if m.isDying(n.Name) {
		m.mu.Lock()
		meta := m.metaOf(n)
		m.mu.Unlock()
		m.drop(n, meta)
	}
}

// answers reports whether a member answers within denyWait.
func (m *Members) answers(node string, at netip.AddrPort) bool {
	for range denyWait / denyAsk {
		if m.ask(node, at, denyAsk) {
			return true
		}
	}
	return false
}

// pause waits, and reports whether this member still takes part.
func (m *Members) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-m.attendance.ctx.Done():
		return false
	}
}

// isDying reports whether a member is said to be dead and has not denied it yet.
func (m *Members) isDying(node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dying[node]
}

// drop forgets a member.
func (m *Members) drop(n *memberlist.Node, meta Meta) {
	m.roll.forget(addrOf(n))
	m.mu.Lock()
	if !meta.Observer {
		m.lost = !meta.Draining
	}
	delete(m.dying, n.Name)
	delete(m.members, n.Name)
	m.reports.forget(n.Name)
	m.part(n.Name, !meta.Draining)
	m.mu.Unlock()
	m.cfg.Logger.Info("speaker left", "node", n.Name, "ip", n.Addr.String(), "lost", !meta.Draining)
	m.cfg.OnChange()
}

func (e events) NotifyUpdate(n *memberlist.Node) {
	e.note(n)
	e.m.cfg.OnChange()
}

// note keeps a copy of a live member and returns it. memberlist holds its lock during the events, and only then is n safe
// to read.
func (e events) note(n *memberlist.Node) *memberlist.Node {
	c := *n
	e.m.roll.forget(addrOf(n))
	e.m.mu.Lock()
	defer e.m.mu.Unlock()
	delete(e.m.dying, n.Name)
	e.m.members[n.Name] = &c
	return &c
}

// broadcast is one message on its way through the gossip. An older one is never worth dropping for a newer one: each
// carries other claims, and merging sorts them out.
type broadcast []byte

var _ memberlist.UniqueBroadcast = broadcast{}

func (b broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                       { return b }
func (b broadcast) Finished()                             {}

// UniqueBroadcast marks broadcast as never invalidating another, which saves memberlist the comparison.
func (b broadcast) UniqueBroadcast() {}
