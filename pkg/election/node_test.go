package election_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/election"
)

var (
	vip   = addr("192.168.1.160")
	other = addr("192.168.1.161")
	nodes = []string{"node1", "node2", "node3"}
)

// world is a View that a test changes step by step, with a clock of its own.
type world struct {
	election.View
	node *election.Node
}

// start returns the view of node1 of three, in which addrs are wanted and free.
func start(addrs ...netip.Addr) *world {
	w := &world{
		View: election.View{
			Now: time.Unix(1000, 0), Live: map[string]bool{"node1": true, "node2": true, "node3": true},
			Draining: map[string]bool{}, Claims: election.Claims{}, Able: true,
			Free: func(netip.Addr) bool { return true },
		},
		node: election.NewNode("node1", 800*time.Millisecond),
	}
	w.want(nodes, addrs...)
	return w
}

func (w *world) want(eligible []string, addrs ...netip.Addr) {
	w.Addresses = nil
	for _, a := range addrs {
		w.Addresses = append(w.Addresses, election.Address{Addr: a, Eligible: eligible})
	}
}

func (w *world) claim(a netip.Addr, node string, seq uint64) {
	w.Claims.Merge(election.Claim{Addr: a, Node: node, Seq: seq})
}

func vips(addrs ...netip.Addr) []netip.Addr { return addrs }

func (w *world) pass(d time.Duration) { w.Now = w.Now.Add(d) }

func (w *world) decide() election.Decision { return w.node.Decide(w.View) }

func wantDecision(t *testing.T, step string, got, want election.Decision) {
	t.Helper()
	opts := []cmp.Option{cmpAddr, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(election.Decision{}, "Moves")}
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", step, diff)
	}
}

func TestNodeProbesBeforeTheFirstClaim(t *testing.T) {
	w := start(vip)
	w.want(nodes[:1], vip)
	free := false
	w.Free = func(netip.Addr) bool { return free }
	wantDecision(t, "nobody has ever had it", w.decide(), election.Decision{Probe: []netip.Addr{vip}})
	free = true
	wantDecision(t, "the LAN is silent", w.decide(), election.Decision{
		Hold: []netip.Addr{vip}, Claims: []election.Claim{{Addr: vip, Node: "node1", Seq: 1}},
	})
	free = false
	wantDecision(t, "claimed", w.decide(), election.Decision{Hold: []netip.Addr{vip}})

	w.want(nodes[:1])
	wantDecision(t, "nobody wants it any more", w.decide(), election.Decision{})
	w.want(nodes[:1], vip)
	wantDecision(t, "wanted again: somebody may have taken it", w.decide(), election.Decision{Probe: []netip.Addr{vip}})
	free = true
	wantDecision(t, "still free", w.decide(), election.Decision{
		Hold: []netip.Addr{vip}, Claims: []election.Claim{{Addr: vip, Node: "node1", Seq: 2}},
	})
}

func TestNodeProbesNothingInAFailover(t *testing.T) {
	w := start(vip)
	w.Free = func(netip.Addr) bool { return false }
	w.claim(vip, "node2", 1)
	wantDecision(t, "node2 holds it", w.decide(), election.Decision{})
	delete(w.Live, "node2")
	w.want(nodes[:1], vip)
	wantDecision(t, "node2 is gone", w.decide(), election.Decision{
		Hold: []netip.Addr{vip}, Claims: []election.Claim{{Addr: vip, Node: "node1", Seq: 2}},
	})
	w.want(nodes, vip)
	w.claim(vip, "node3", 3)
	wantDecision(t, "a peer's claim beats ours", w.decide(), election.Decision{})
}

// TestNodeLateToSeeAService is about a node that hears of a Service only after a peer has claimed the address for it.
func TestNodeLateToSeeAService(t *testing.T) {
	w := start(vip)
	w.Free = func(netip.Addr) bool { return false }
	w.claim(vip, "node2", 1)
	w.decide()
	w.want(nodes)
	w.decide()
	w.claim(vip, "node2", 2) // node2 has seen the next Service, and probed
	w.want(nodes, vip)
	w.decide()
	w.want(nodes[:1], vip)
	delete(w.Live, "node2")
	wantDecision(t, "the LAN was asked for this Service already", w.decide(), election.Decision{
		Hold: []netip.Addr{vip}, Claims: []election.Claim{{Addr: vip, Node: "node1", Seq: 3}},
	})
}

func TestNodeHoldsUntilRelieved(t *testing.T) {
	w := start(vip)
	w.claim(vip, "node1", 1)
	w.want(nodes[1:], vip) // excluded, say
	wantDecision(t, "not eligible any more", w.decide(), election.Decision{Hold: []netip.Addr{vip}})
	if !w.node.Relievable(w.View) {
		t.Error("another should have it, and Relievable says no")
	}
	w.want(nil, vip)
	wantDecision(t, "nobody may hold it", w.decide(), election.Decision{})
	if w.node.Relievable(w.View) {
		t.Error("nobody may hold it, and Relievable says yes")
	}
}

func TestNodeDoubts(t *testing.T) {
	w := start(vip)
	w.claim(vip, "node1", 1)
	holding := election.Decision{Hold: []netip.Addr{vip}}
	wantDecision(t, "at first", w.decide(), holding)

	w.Alone = true
	wantDecision(t, "no peer in sight", w.decide(), election.Decision{Doubt: election.DoubtAlone})
	w.node.Asked(w.Now, false)
	wantDecision(t, "no peer in reach", w.decide(), election.Decision{Again: w.Now.Add(election.Fence)})
	w.pass(election.Fence)
	wantDecision(t, "serves its own side", w.decide(), holding)

	w.Alone = false
	wantDecision(t, "a peer is back", w.decide(), election.Decision{Doubt: election.DoubtReturn})
	w.claim(vip, "node2", 2)
	w.claim(other, "node3", 1)
	w.want(nodes[:1], vip, other) // who lives has not got round yet
	w.node.Asked(w.Now, true)
	wantDecision(t, "claims nothing for a while", w.decide(), election.Decision{Again: w.Now.Add(election.Modesty)})
	w.pass(election.Modesty)
	if got := w.decide(); len(got.Claims) != 2 {
		t.Errorf("after a while: %+v, want both claimed", got)
	}

	w.Able = false
	w.decide()
	w.Able = true
	wantDecision(t, "link was down", w.decide(), election.Decision{Doubt: election.DoubtLink})
}

func TestNodePaused(t *testing.T) {
	w := start()
	for _, tt := range []struct {
		pause time.Duration
		want  bool
	}{{0, false}, {100 * time.Millisecond, false}, {900 * time.Millisecond, true}, {100 * time.Millisecond, false}} {
		w.pass(tt.pause)
		if got := w.node.Paused(w.Now, tt.pause); got != tt.want {
			t.Errorf("Paused for %v = %v, want %v", tt.pause, got, tt.want)
		}
	}
}

func TestPulse(t *testing.T) {
	var p election.Pulse
	now := time.Unix(1000, 0)
	for _, tt := range []struct {
		what  string
		after time.Duration
		ask   bool // for the pause, instead of beating
		want  time.Duration
	}{
		{"before the first beat", 0, true, 0},
		{"the first beat", 0, false, 0},
		{"a beat in time", 100 * time.Millisecond, false, 0},
		{"a late one", 300 * time.Millisecond, false, 300 * time.Millisecond},
		{"it is not forgotten", 100 * time.Millisecond, false, 300 * time.Millisecond},
		{"until it is asked for", 50 * time.Millisecond, true, 300 * time.Millisecond},
		{"then it is over", 100 * time.Millisecond, false, 0},
		{"a pause that no beat has noticed", 900 * time.Millisecond, true, 900 * time.Millisecond},
		{"the beat after that", 10 * time.Millisecond, false, 0},
		{"no pause, but the longest time", 50 * time.Millisecond, true, 50 * time.Millisecond},
	} {
		now = now.Add(tt.after)
		if tt.ask {
			if got := p.Pause(now); got != tt.want {
				t.Errorf("%s: paused for %v, want %v", tt.what, got, tt.want)
			}
		} else if got := p.Beat(now); got != (tt.want > election.Stall) {
			t.Errorf("%s: paused = %v, want %v", tt.what, got, !got)
		}
	}
}

// TestNodesWithDifferingViews is about two nodes that each hold the other unfit: each claim that follows another waits
// longer, so that the address does not move back and forth thousands of times a second. A failover never waits.
func TestNodesWithDifferingViews(t *testing.T) {
	w := start(vip)
	w.claim(vip, "node2", 1)
	w.want(nodes[:1], vip)
	claims := 0
	for range 5000 {
		if made := w.decide().Claims; len(made) > 0 {
			claims++
			w.claim(vip, "node2", made[0].Seq+1)
		}
		w.pass(time.Millisecond)
	}
	if claims != 5 { // at 0, 0.2, 0.6, 1.4 and 3 s
		t.Errorf("%d claims of a contested address in 5 s, want 5", claims)
	}
	w.want(nodes[:1], vip, other)
	w.claim(other, "node2", 1)
	if got := w.decide().Claims; len(got) != 1 || got[0].Addr != other {
		t.Errorf("claims %v, want only that of the other address", got)
	}
	delete(w.Live, "node2")
	if got := w.decide().Claims; len(got) != 1 || got[0].Addr != vip {
		t.Errorf("claims %v after the holder has gone, want that of %v", got, vip)
	}
	w.Live["node2"] = true
	w.claim(vip, "node2", 100)
	w.pass(2 * time.Minute)
	if got := w.decide().Claims; len(got) != 1 {
		t.Errorf("claims %v after a long time of peace, want one", got)
	}
}

func TestNodeSaysWhy(t *testing.T) {
	tests := []struct {
		name  string
		view  func(w *world)
		from  string
		cause election.Cause
	}{
		{"nobody had it", func(w *world) { delete(w.Claims, vip) }, "", election.CauseFirst},
		{"the holder is gone", func(w *world) { delete(w.Live, "node2"); w.want(nodes[:1], vip) }, "node2", election.CauseFailure},
		{"the holder leaves", func(w *world) { w.Draining["node2"] = true; w.want(nodes[:2], vip) }, "node2", election.CauseDrain},
		{"the holder is unfit", func(w *world) { w.want(nodes[:1], vip) }, "node2", election.CauseUnfit},
		{"a wish", func(w *world) { w.Addresses[0].Prefer = "node1" }, "node2", election.CausePreferred},
		{"nobody wanted it meanwhile", func(w *world) {
			w.decide()
			w.want(nodes)
			w.decide()
			w.want(nodes[:1], vip)
		}, "", election.CauseFirst},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := start(vip)
			w.Claims = election.Claims{}
			w.claim(vip, "node2", 1)
			w.claim(other, "node1", 1)
			w.want(nodes, vip)
			w.decide()
			tt.view(w)
			if tt.cause == election.CauseFirst {
				w.want(nodes[:1], vip)
			}
			want := []election.Move{{Addr: vip, From: tt.from, To: "node1", Cause: tt.cause}}
			if diff := cmp.Diff(want, w.decide().Moves, cmpAddr); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNodeBlocked is about nodes that can't talk to each other: each follows the plan that all make alike, and takes nothing
// that is in use.
func TestNodeBlocked(t *testing.T) {
	w := start(vip, other)
	w.claim(vip, "node2", 1)
	w.Blocked = true
	w.want(nodes[:1], vip, other)
	free := map[netip.Addr]bool{}
	w.Free = func(a netip.Addr) bool { return free[a] }
	wantDecision(t, "the LAN is asked first", w.decide(), election.Decision{Probe: vips(vip, other)})
	free[other] = true
	wantDecision(t, "one is free", w.decide(), election.Decision{Hold: vips(other), Probe: vips(vip)})
	clear(free)
	wantDecision(t, "what it holds it keeps", w.decide(), election.Decision{Hold: vips(other), Probe: vips(vip)})
	w.want(nodes[1:2], vip, other)
	wantDecision(t, "the plan says another node", w.decide(), election.Decision{})

	free[other] = true
	w.want(nodes[:1], vip, other)
	w.decide()
	clear(free)
	w.Blocked = false
	w.want(nodes, vip, other)
	w.claim(vip, "node2", 1)
	wantDecision(t, "they can talk again", w.decide(), election.Decision{
		Hold: vips(other), Claims: []election.Claim{{Addr: other, Node: "node1", Seq: 1}},
	})
	w.want(nodes[:1])
	w.decide()
	w.want(nodes[:1], other)
	wantDecision(t, "that it held it once counts no more", w.decide(), election.Decision{Probe: vips(other)})
}

// bereft returns a node of three, node1, that holds vip and hears somebody on the wire, right after node2, which holds other, and node3
// are lost.
func bereft() *world {
	w := start(vip, other)
	w.Known = 3
	w.claim(vip, "node1", 1)
	w.claim(other, "node2", 1)
	w.Hears = true
	w.decide()
	w.Live = map[string]bool{"node1": true}
	w.want(nodes[:1], vip, other)
	return w
}

// TestNodeAloneThatHears is about a node whose heartbeats no peer answers, while the wire says that they live: it holds what it
// holds, and no more.
func TestNodeAloneThatHears(t *testing.T) {
	w := bereft()
	w.Alone = true
	wantDecision(t, "alone", w.decide(), election.Decision{Doubt: election.DoubtAlone})
	w.node.Asked(w.Now, false)
	w.pass(election.Fence)
	wantDecision(t, "after the fence", w.decide(), election.Decision{Hold: vips(vip)})
}

// TestNodeLosesTheDead is about a node whose last peers were dead before the heartbeats say so, though a kernel answers, as after a
// process that has ended: it doubts nothing.
func TestNodeLosesTheDead(t *testing.T) {
	w := bereft()
	w.decide()
	w.Alone = true
	wantDecision(t, "alone", w.decide(), election.Decision{Hold: vips(vip, other)})
}

// TestNodeAfterAStall is about a pause that is too short for a doubt: the wire watch may have replaced this node meanwhile.
func TestNodeAfterAStall(t *testing.T) {
	w := start(vip, other)
	w.claim(vip, "node1", 1)
	w.claim(other, "node2", 1)
	w.decide()
	w.pass(400 * time.Millisecond)
	if w.node.Paused(w.Now, 400*time.Millisecond) {
		t.Error("400 ms are so long that peers may have replaced it")
	}
	if !w.node.Stalled() || w.node.Stalled() {
		t.Error("a stall is not reported once")
	}
	delete(w.Live, "node2")
	w.want(nodes[:1], vip, other)
	wantDecision(t, "after a stall", w.decide(), election.Decision{Hold: vips(vip), Again: w.Now.Add(200 * time.Millisecond)})
	w.pass(200 * time.Millisecond)
	w.node.Paused(w.Now, 200*time.Millisecond)
	if w.node.Stalled() || len(w.decide().Claims) != 1 {
		t.Error("200 ms later it still waits")
	}
}

// TestNodesThatTakeEachOtherForDead is about two nodes that hear each other's claims, but no answers: they must not take an
// address from each other thousands of times a second.
func TestNodesThatTakeEachOtherForDead(t *testing.T) {
	w := start(vip)
	w.claim(vip, "node2", 1)
	w.decide()
	delete(w.Live, "node2")
	w.want(nodes[:1], vip)
	claims := 0
	for range 1000 {
		if made := w.decide().Claims; len(made) > 0 {
			claims++
			w.claim(vip, "node2", made[0].Seq+1)
		}
		w.pass(time.Millisecond)
	}
	if claims != 5 { // at 0, 0.2, 0.4, 0.6 and 0.8 s
		t.Errorf("%d claims in a second, want 5", claims)
	}
}

// TestNodeHearsAgain is about a node that nobody answered on the wire: it doubts what it knows when somebody answers, not when
// it watches others that never have.
func TestNodeHearsAgain(t *testing.T) {
	w := start(vip)
	w.claim(vip, "node1", 1)
	w.Known = 3
	holding := election.Decision{Hold: vips(vip)}
	w.Deaf = true
	wantDecision(t, "deaf", w.decide(), holding)
	w.Deaf = false
	wantDecision(t, "watching others", w.decide(), holding)
	w.Hears = true
	wantDecision(t, "hearing", w.decide(), election.Decision{Doubt: election.DoubtReturn})
	w.node.Asked(w.Now, true)
	wantDecision(t, "asked", w.decide(), holding)
}
