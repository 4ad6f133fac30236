package controller

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/membership"
)

// holding makes a node announce an address since so many seconds.
func holding(node string, seconds int, interfaces ...string) holder {
	since := epoch.Add(time.Duration(seconds) * time.Second)
	return holder{node, membership.Holding{Interfaces: interfaces, Since: since}}
}

// TestAnnouncedCondition follows the condition of one Service while its address moves.
func TestAnnouncedCondition(t *testing.T) {
	h := newHarness(t).start(pool).add(service("a"))
	var heard word
	h.hear = func() word { return heard }
	condition := func() string {
		c := meta.FindStatusCondition(h.get("a").Status.Conditions, kube.ConditionAnnounced)
		if c == nil {
			return ""
		}
		return string(c.Status) + " " + c.Reason + ": " + c.Message
	}
	say := func(w word, want string) {
		t.Helper()
		heard = w
		h.queue.Add(gossipKey)
		waitFor(t, fmt.Sprintf("%q becomes %q", condition(), want), func() bool { h.work(); return condition() == want })
	}
	say(word{}, "")
	say(word{complete: true}, "") // what has never been so is not shown
	on2 := map[netip.Addr]holder{vip: holding("node2", 1, "eth0")}
	say(word{holders: on2, complete: true}, "True Announced: 192.168.1.160 from node node2 on eth0")
	say(word{}, "True Announced: 192.168.1.160 from node node2 on eth0") // not all have been heard
	on3 := map[netip.Addr]holder{vip: holding("node3", 1, "eth0", "eth1")}
	say(word{holders: on3}, "True Announced: 192.168.1.160 from node node3 on eth0, eth1")
	start := time.Now()
	say(word{complete: true}, "False NotAnnounced: 192.168.1.160 from no node")
	if took := time.Since(start); took < announcedSettle {
		t.Errorf("called silent after %v already", took)
	}
	h.want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default")
	h.leaveType("a")
	if got := condition(); got != "" {
		t.Errorf("left the type, and still says %q", got)
	}
}

// TestPace checks that single changes are written at once, and a thousand at once are not.
func TestPace(t *testing.T) {
	p := newPace()
	name := func(i int) key { return key{Namespace: "default", Name: fmt.Sprint(i)} }
	now := epoch
	for i := range 1000 {
		if got, want := p.wait(name(i), now, 0), time.Duration(i)*announcedEvery; got != want {
			t.Fatalf("change %d waits %v, want %v", i, got, want)
		}
	}
	if got := p.wait(name(500), now.Add(time.Second), 0); got != 9*time.Second {
		t.Errorf("the same again waits %v, want 9s: it has its turn", got)
	}
	if got := p.wait(name(0), now, 0); got != 0 {
		t.Errorf("one whose turn has come waits %v", got)
	}
	p.done(name(0))
	if got := p.wait(name(0), now.Add(time.Minute), 0); got != 0 {
		t.Errorf("a single change waits %v", got)
	}
	for i := range 2 {
		got, want := p.wait(name(2000+i), now, announcedSettle), announcedSettle+time.Duration(i)*announcedEvery
		if got != want {
			t.Errorf("withdrawal %d waits %v, want %v", i, got, want)
		}
	}
}

// TestPaceOfWhatFlaps has a thousand Services change and change back before their turn comes, for six minutes: turns that nobody
// took make nobody wait.
func TestPaceOfWhatFlaps(t *testing.T) {
	p := newPace()
	name := func(i int) key { return key{Namespace: "default", Name: fmt.Sprint(i)} }
	now := epoch
	for range 180 {
		for i := range 1000 {
			p.wait(name(i), now, 0)
		}
		now = now.Add(2 * time.Second)
		for i := range 1000 {
			if i%10 > 0 || p.wait(name(i), now, 0) == 0 {
				p.done(name(i))
			}
		}
	}
	if got, limit := p.wait(name(1), now, 0), 1000*announcedEvery; got > limit {
		t.Errorf("the next one waits %v, want %v at most", got, limit)
	}
}

func TestHolders(t *testing.T) {
	at := func(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }
	other := netip.MustParseAddr("192.168.1.161")
	got := holders(map[string][]membership.Holding{
		"node1": {{Addr: vip, Since: at(1)}, {Addr: other, Since: at(5)}},
		"node2": {{Addr: vip, Since: at(2)}}, // it is on the way there
		"node3": {{Addr: vip, Since: at(2)}},
	})
	nodes := map[string]string{}
	for addr, h := range got {
		nodes[addr.String()] = h.node
	}
	if diff := cmp.Diff(map[string]string{"192.168.1.160": "node2", "192.168.1.161": "node1"}, nodes); diff != "" {
		t.Errorf("holders (-want +got):\n%s", diff)
	}
}

// TestMovesOnce has a speaker go out of sight and come back with what it announced before, which is no other move.
func TestMovesOnce(t *testing.T) {
	var log moveLog
	now := map[netip.Addr]holder{vip: {"node1", membership.Holding{Addr: vip, Since: epoch, From: "node2", Cause: "failure"}}}
	for _, w := range []map[netip.Addr]holder{now, {}, now} {
		log.note(w)
	}
	want := []explain.Move{{At: epoch, Addr: vip, From: "node2", To: "node1", Cause: "failure"}}
	if diff := cmp.Diff(want, log.latest(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("moves (-want +got):\n%s", diff)
	}
}
