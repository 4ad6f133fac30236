package membership

import (
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// rollPauses returns how long a member may take to answer each question of a roll call. A datagram may be lost; one that is gone is not
// to be flooded when it comes back.
func rollPauses() []time.Duration {
	return []time.Duration{denyAsk, 2 * denyAsk, 3 * denyAsk, 4 * denyAsk}
}

// CallRoll asks all speakers that are members at once whether they live, several times within a second. It is for one that may be in the
// smaller part of a LAN that has fallen apart: the heartbeats ask one member after the other, ever more slowly. If no more than half of
// all are left, those that have not answered are no members any more until one of them is heard of. If more have answered, it is for the
// heartbeats to say what is wrong with the others, and they are but [Members.Absent]. It reports whether that is something new.
func (m *Members) CallRoll() (news bool) {
	var peers []Peer
	for _, p := range m.Peers() {
		if p.Name != m.cfg.Node && !p.Meta.Observer {
			peers = append(peers, p)
		}
	}
	m.roll.begin(peers)
	var asking sync.WaitGroup
	for _, p := range peers {
		asking.Go(func() {
			for _, wait := range rollPauses() {
				if m.roll.hasAnswered(p.Addr) || m.ask(p.Name, p.addrPort(), wait) {
					return
				}
			}
		})
	}
	asking.Wait()
	news = m.roll.end()
	if news {
		m.cfg.Logger.Info("the roll was called", "absent", m.Absent())
	}
	return news
}

// Absent returns the members that have not answered the last roll call, nor been heard of since.
func (m *Members) Absent() (nodes []string) {
	for _, n := range m.live() {
		if m.roll.isAbsent(addrOf(n)) {
			nodes = append(nodes, n.Name)
		}
	}
	return nodes
}

// ask reports whether a member answers a ping. If not, it has taken wait at least, and memberlist's time-out.
func (m *Members) ask(node string, at netip.AddrPort, wait time.Duration) bool {
	begin := time.Now()
	if _, err := m.list.Ping(node, net.UDPAddrFromAddrPort(at)); err == nil {
		return true
	}
	m.pause(wait - time.Since(begin))
	return false
}

// welcome greets those that were taken for gone, of which one was heard of: neither side knows what the other has missed.
func (m *Members) welcome(back map[netip.Addr]bool) {
	for _, n := range m.live() {
		if back[addrOf(n)] {
			go m.greet(n)
		}
	}
	m.cfg.OnChange()
}

// roll is what a roll call has found. Anything that comes from a peer's address is an answer.
type roll struct {
	onBack func(peers map[netip.Addr]bool) // see welcome

	open  atomic.Bool // there is something to listen to
	mu    sync.Mutex
	peers int                 // that were asked by the last call
	asked map[netip.Addr]bool // those of them that have not answered yet
	// absent are those that have not answered, or the one before, nor been heard of since.
	absent map[netip.Addr]bool
	gone   bool // the absent ones are no members
	// before and goneBefore are absent and gone as they were when the last call began.
	before     map[netip.Addr]bool
	goneBefore bool
}

// begin begins a roll call of peers.
func (r *roll) begin(peers []Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.goneBefore = maps.Clone(r.absent), r.gone
	r.peers, r.asked = len(peers), make(map[netip.Addr]bool, len(peers))
	for _, p := range peers {
		r.asked[p.Addr] = true
	}
	r.note()
}

// note brings open up to date. The caller holds r.mu.
func (r *roll) note() { r.open.Store(len(r.asked)+len(r.absent) > 0) }

// end ends a roll call, and reports whether that has changed anything. Those that have not answered count as gone if no more than half
// of all are left.
func (r *roll) end() (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.note()
	if r.gone { // they were not asked once more
		maps.Copy(r.asked, r.absent)
		r.peers += len(r.absent)
	}
	r.absent, r.asked = r.asked, nil
	r.gone = len(r.absent) > 0 && 2*(1+r.peers-len(r.absent)) <= 1+r.peers
	return r.gone != r.goneBefore || !maps.Equal(r.absent, r.before)
}

// sign takes notice of a packet or a connection. As long as there is no roll call it costs next to nothing.
func (r *roll) sign(from netip.Addr) {
	if !r.open.Load() {
		return
	}
	if back := r.answer(from.Unmap().WithZone("")); back != nil {
		r.onBack(back)
	}
}

// answer notes an answer and returns those that count as gone no more: if one is back, most are.
func (r *roll) answer(from netip.Addr) (back map[netip.Addr]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.note()
	delete(r.asked, from)
	if r.gone && r.absent[from] {
		back, r.absent, r.gone = r.absent, nil, false
	}
	delete(r.absent, from)
	return back
}

// forget forgets that a peer is absent.
func (r *roll) forget(peer netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.note()
	delete(r.absent, peer)
}

func (r *roll) hasAnswered(peer netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.asked[peer]
}

func (r *roll) isGone(peer netip.Addr) bool {
	if !r.open.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone && r.absent[peer]
}

func (r *roll) isAbsent(peer netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.absent[peer]
}
