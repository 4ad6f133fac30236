package speaker

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMemo(t *testing.T) {
	var worked []int
	m := newMemo(func(k int) int { worked = append(worked, k); return 10 * k })
	for _, round := range []struct{ ask, work []int }{
		{ask: []int{1, 2, 1}, work: []int{1, 2}},
		{ask: []int{1}},
		{ask: []int{1, 2, 3}, work: []int{2, 3}}, // 2 was forgotten
		{},
		{ask: []int{3}, work: []int{3}},
	} {
		worked = nil
		m.begin()
		for _, k := range round.ask {
			if got := m.of(k); got != 10*k {
				t.Errorf("of(%d): got %d", k, got)
			}
		}
		if diff := cmp.Diff(round.work, worked); diff != "" {
			t.Errorf("asked for %v, worked (-want +got):\n%s", round.ask, diff)
		}
	}
}
