package membership

import (
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

	untold bool // an observer could not be reached
}

// Hold tells the observers all that this node announces, if that is news. It waits until they have it, and reports whether all of
// them do; if not, it may be called again.
func (m *Members) Hold(held []Holding) (told bool) {
	m.mu.Lock()
	own := m.holdings[m.cfg.Node]
	news := own == nil || own.untold || !reflect.DeepEqual(own.Held, held)
	if news {
		own = &holdings{Node: m.cfg.Node, Seq: uint64(time.Now().UnixNano()), Held: held}
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
	m.mu.Lock()
	own.untold = !told
	m.mu.Unlock()
	return told
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
		if old := m.holdings[h.Node]; old == nil || h.Seq > old.Seq {
			m.holdings[h.Node] = &h
			news = true
		}
	}
	return news
}
