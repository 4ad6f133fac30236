package membership

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/invar-lb/invar/pkg/election"
)

// BenchmarkExchange is what one side of an exchange costs between two members that know the same: by digests, as each member makes one
// every ten seconds, and in full, as those do that join.
func BenchmarkExchange(b *testing.B) {
	for _, n := range []int{1000, 5000} {
		m := &Members{cfg: Config{Node: "node1"}, ledger: election.NewLedger("node1"), reports: newReports("node1", 1, Meta{})}
		for i := range n {
			addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			m.ledger.Receive([]election.Claim{{Addr: addr, Node: fmt.Sprintf("node%d", i%200), Seq: 1}})
		}
		for _, kind := range []struct {
			name string
			join bool
		}{{"digest", false}, {"full", true}} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, n), func(b *testing.B) {
				b.ReportAllocs()
				d := delegate{m}
				for b.Loop() {
					d.MergeRemoteState(d.LocalState(kind.join), kind.join)
				}
			})
		}
	}
}

// BenchmarkReceive is what a claim costs that is known already, as most are of those that arrive: each is told some times.
func BenchmarkReceive(b *testing.B) {
	m := &Members{cfg: Config{Node: "node1"}, ledger: election.NewLedger("node1"), reports: newReports("node1", 1, Meta{})}
	for i := range 200 {
		m.reports.merge([]report{{Node: fmt.Sprintf("node%d", i), Seq: 1}})
	}
	msg := encodeClaims([]election.Claim{{Addr: netip.MustParseAddr("10.0.0.1"), Node: "node2", Seq: 1}})
	m.ledger.Receive([]election.Claim{{Addr: netip.MustParseAddr("10.0.0.1"), Node: "node2", Seq: 1}})
	b.ReportAllocs()
	for b.Loop() {
		m.receive(msg)
	}
}
