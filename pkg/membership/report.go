package membership

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// Observations are what a speaker sees of the LAN and its peers should know.
type Observations struct {
	// Silent are the nodes that don't answer this one on the wire, sorted.
	Silent []string `json:"silent,omitempty"`
	// Conflicts are addresses that a host outside the cluster answers for as well, sorted, [MaxConflicts] at most.
	Conflicts []Conflict `json:"conflicts,omitempty"`
}

// MaxConflicts is how many conflicts a report may have, so that it fits in a datagram: the gossip would never send a larger one.
const MaxConflicts = 3

// Conflict is an address of the cluster that a foreign host uses.
type Conflict struct {
	Addr      netip.Addr `json:"addr"`
	MAC       string     `json:"mac"`
	Interface string     `json:"interface"`
}

// report is the newest Observations of one node.
type report struct {
	Node string `json:"node"`
	// Seq orders the reports of one node, also over its restarts: it starts with the time of day in nanoseconds.
	Seq uint64 `json:"seq"`
	// Meta is the node's Meta, encoded. memberlist's own message of it goes only to some members, and may miss one for long.
	Meta []byte `json:"meta,omitempty"`
	Observations
}

// reports are the newest reports of all nodes.
type reports struct {
	node string
	of   map[string]report
}

func newReports(node string, seq uint64, meta Meta) *reports {
	return &reports{node: node, of: map[string]report{node: {Node: node, Seq: seq, Meta: encodeMeta(meta)}}}
}

// setMeta replaces the node's own Meta and returns the report with it.
func (rs *reports) setMeta(meta Meta) report {
	r := rs.of[rs.node]
	r.Seq++
	r.Meta = encodeMeta(meta)
	rs.of[rs.node] = r
	return r
}

// observe replaces what the node itself observes and reports whether that is news.
func (rs *reports) observe(o Observations) (r report, news bool) {
	r = rs.of[rs.node]
	if reflect.DeepEqual(r.Observations, o) {
		return r, false
	}
	r.Seq++
	r.Observations = o
	rs.of[rs.node] = r
	return r, true
}

// merge takes in what is newer and returns it.
func (rs *reports) merge(in []report) (news []report) {
	for _, r := range in {
		if old, ok := rs.of[r.Node]; !ok || r.Seq > old.Seq {
			rs.of[r.Node] = r
			news = append(news, r)
		}
	}
	return news
}

// digest returns a number that is the same for nodes that have the same reports: see [election.Ledger.Digest].
func (rs *reports) digest() (sum uint64) {
	for node, r := range rs.of {
		h := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, r.Seq), node...))
		sum += binary.BigEndian.Uint64(h[:])
	}
	return sum
}

// forget drops the report of a node that has left.
func (rs *reports) forget(node string) {
	if node != rs.node {
		delete(rs.of, node)
	}
}

// all returns the reports, sorted by node.
func (rs *reports) all() []report {
	var out []report
	for _, node := range slices.Sorted(maps.Keys(rs.of)) {
		out = append(out, rs.of[node])
	}
	return out
}
