package membership

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// Holding is an address that a node announces. Only observers hear of it: speakers go by claims.
type Holding struct {
	Addr       netip.Addr `json:"addr"`
	Interfaces []string   `json:"interfaces"` // that answer for it
	Since      time.Time  `json:"since"`
	// From, Cause and Took say how the address came to this node, as far as it knows: from which node, why, and how long after
	// the last sign of life of one that failed.
	From  string        `json:"from,omitempty"`
	Cause string        `json:"cause,omitempty"`
	Took  time.Duration `json:"took,omitempty"`
}

// holdings is all that one node announces.
type holdings struct {
	Node string    `json:"node"`
	Seq  uint64    `json:"seq"` // orders those of one node, also over its restarts: see report.Seq
	Held []Holding `json:"held"`

	untold bool      // an observer could not be reached
	gone   time.Time // when the node was lost; zero: it has not been
}

// keepLost is how long what a lost node announces is remembered. It may be back without having missed anybody: then it has nothing
// new to tell.
const keepLost = time.Minute

// Hold tells the observers all that this node announces, if that is news. It waits until they have it, and reports whether all of
// them do; if not, it may be called again.
func (m *Members) Hold(held []Holding) (told bool) {
	m.mu.Lock()
	own := m.holdings[m.cfg.Node]
	news := own == nil || own.untold || !reflect.DeepEqual(own.Held, held)
	if news {
		seq := uint64(time.Now().UnixNano())
		if own != nil {
			seq = max(seq, own.Seq+1) // the clock may have been set back
		}
		own = &holdings{Node: m.cfg.Node, Seq: seq, Held: held}
		m.holdings[m.cfg.Node] = own
	}
	m.mu.Unlock()
	if !news {
		return true
	}
	told = true
	for _, n := range m.live() {
		told = m.confide(n, own) && told
	}
	if !told {
		m.leaveUntold(own)
	}
	return told
}

// leaveUntold makes the next Hold tell all again.
func (m *Members) leaveUntold(own *holdings) {
	m.mu.Lock()
	defer m.mu.Unlock()
	own.untold = true
}

// confide tells a member what this node announces, if it is an observer, and reports whether it knows what it should.
func (m *Members) confide(n *memberlist.Node, own *holdings) bool {
	if meta, err := decodeMeta(n.Meta); err != nil || !meta.Observer || n.Name == m.cfg.Node || own == nil {
		return true
	}
	err := m.running().SendReliable(n, encodeHoldings(own)) // over TCP: this may be long
	if err != nil {
		m.cfg.Logger.Debug("observer not reached", "node", n.Name, "err", err)
	}
	return err == nil
}

// Holdings returns what the live members announce, by node, as far as they have said: only an observer hears it.
func (m *Members) Holdings() map[string][]Holding {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make(map[string][]Holding, len(m.holdings))
	for node := range m.members {
		if h := m.holdings[node]; h != nil {
			out[node] = slices.Clone(h.Held)
		}
	}
	return out
}

// hear takes in what nodes announce and reports whether it is news. The caller holds m.mu.
func (m *Members) hear(in []holdings) (news bool) {
	for _, h := range in {
		if old := m.holdings[h.Node]; h.Node == m.cfg.Node || old != nil && h.Seq <= old.Seq {
			continue
		}
		if m.members[h.Node] == nil { // it came late
			h.gone = time.Now()
		}
		m.holdings[h.Node] = &h
		news = true
	}
	return news
}

// part notes that a member is gone, lost or not, and forgets what those announced that have been lost for long. The caller holds
// m.mu.
func (m *Members) part(node string, lost bool) {
	if h := m.holdings[node]; h != nil && lost {
		h.gone = time.Now()
	} else {
		delete(m.holdings, node)
	}
	maps.DeleteFunc(m.holdings, func(node string, h *holdings) bool {
		return m.members[node] == nil && !h.gone.IsZero() && time.Since(h.gone) > keepLost
	})
}
