package controller

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/membership"
)

func TestMembersOf(t *testing.T) {
	peers := []membership.Peer{
		{Name: "a", Addr: netip.MustParseAddr("192.168.1.11"), Meta: membership.Meta{Announcing: true}},
		{Name: "b", Addr: netip.MustParseAddr("192.168.1.12"), Meta: membership.Meta{Announcing: true, Draining: true}},
		{Name: "c", Addr: netip.MustParseAddr("192.168.1.13")},
		{Name: "controller", Addr: netip.MustParseAddr("10.244.1.2"), Meta: membership.Meta{Observer: true}},
	}
	member := func(i int, silent bool) explain.Member {
		p := peers[i]
		return explain.Member{
			Name: p.Name, Addr: p.Addr, Announcing: p.Meta.Announcing, Draining: p.Meta.Draining, Observer: p.Meta.Observer, Silent: silent,
		}
	}
	tests := []struct {
		name    string
		reports map[string][]string
		silent  string // the one member that is
	}{
		{name: "nobody is accused"},
		{name: "one watcher of two is not believed", reports: map[string][]string{"a": {"c"}}},
		{name: "both are", reports: map[string][]string{"a": {"c"}, "b": {"c"}}, silent: "c"},
		{name: "the accused has no voice", reports: map[string][]string{"a": {"c"}, "b": {"c"}, "c": {"a", "b"}}, silent: "c"},
		{name: "nor has one that is gone", reports: map[string][]string{"a": {"c"}, "gone": {"c"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reports := map[string]membership.Observations{}
			for node, silent := range tt.reports {
				reports[node] = membership.Observations{Silent: silent}
			}
			var want []explain.Member
			for i, p := range peers {
				want = append(want, member(i, p.Name == tt.silent))
			}
			if diff := cmp.Diff(want, membersOf(peers, reports), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}
