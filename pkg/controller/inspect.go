package controller

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/ipam"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/membership"
)

// askWait is how long whoever asks waits until the worker has a moment for it.
const askWait = 3 * time.Second

// errBusy is why there is no answer.
var errBusy = errors.New("the controller has not got to it: it starts or stops leading")

// State returns what this controller knows and does, and what it would do for the Service that the request names by
// explain.ServiceQuery. It is worked out now: nothing but the moves is kept for it.
func (c *Controller) State(r *http.Request) (any, error) {
	state := explain.ControllerState{
		Identity: c.cfg.Identity, Version: c.cfg.Version, Since: c.began, Now: time.Now(),
		Class: c.cfg.LBClass,
		Pools: []explain.Pool{}, Services: []explain.Service{}, Moves: c.moves.latest(),
	}
	if err := c.Ready(); err != nil {
		state.NotReady = err.Error()
	}
	if m := c.gossip.members.Load(); m != nil {
		state.Listening = true
		addGossip(&state, m)
	}
	if !c.leading.Load() {
		return state, nil
	}
	state.Leading = true
	return state, c.ask(r.Context(), func(t *term) { t.tellState(&state, r.FormValue(explain.ServiceQuery)) })
}

// ask runs f on the goroutine of the worker and waits until it is done.
func (c *Controller) ask(ctx context.Context, f func(*term)) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	done := make(chan struct{})
	select {
	case c.asks <- func(t *term) { defer close(done); f(t) }:
		<-done
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

// addGossip adds what is heard of the speakers.
func addGossip(state *explain.ControllerState, m *membership.Members) {
	reports := m.Reports()
	state.Members = membersOf(m.Peers(), reports)
	held := holders(m.Holdings())
	for _, addr := range sortedAddrs(held) {
		h := held[addr]
		state.Holders = append(state.Holders, explain.Holder{
			Addr: addr, Node: h.node, Interfaces: h.Interfaces, Since: h.Since,
		})
	}
	for node, o := range reports {
		for _, c := range o.Conflicts {
			state.Conflicts = append(state.Conflicts, explain.Conflict{Addr: c.Addr, MAC: c.MAC, Interface: c.Interface, Node: node})
		}
	}
	explain.SortConflicts(state.Conflicts)
}

// membersOf tells of the peers. One is silent if the most of the speakers that watch it say so, as the speakers themselves decide.
func membersOf(peers []membership.Peer, reports map[string]membership.Observations) []explain.Member {
	var speakers []string
	silentTo := map[string][]string{}
	for _, p := range peers {
		if !p.Meta.Observer {
			speakers = append(speakers, p.Name)
			silentTo[p.Name] = reports[p.Name].Silent
		}
	}
	const nobody = "" // a controller watches none, and so has no voice
	silent := election.Silent(nobody, speakers, silentTo)
	var out []explain.Member
	for _, p := range peers {
		out = append(out, explain.Member{
			Name: p.Name, Addr: p.Addr, Announcing: p.Meta.Announcing, Draining: p.Meta.Draining, Observer: p.Meta.Observer,
			Silent: silent[p.Name],
		})
	}
	return out
}

func sortedAddrs[V any](m map[netip.Addr]V) []netip.Addr {
	out := make([]netip.Addr, 0, len(m))
	for a := range m {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// tellState completes state with what belongs to the worker. wanted is the name of a Service to say more of, or empty.
func (t *term) tellState(state *explain.ControllerState, wanted string) {
	state.Config = t.source.State()
	for _, u := range t.alloc.Usage() {
		state.Pools = append(state.Pools, explain.Pool{
			Name: u.Pool, Family: u.Family.String(), Total: u.Total, InUse: u.InUse, Services: u.Services,
		})
	}
	for _, obj := range kube.List[corev1.Service](t.services) {
		svc := kube.ServiceOf(obj)
		if !t.serves(obj, svc) {
			continue
		}
		s := t.describe(obj, svc)
		if s.Name == wanted {
			s.Verdicts = t.verdicts(t.applicant(svc, obj))
			state.Service = &s
		} else if s.Waiting {
			s.Verdicts = t.verdicts(t.applicant(svc, obj))
		}
		state.Services = append(state.Services, s)
	}
	slices.SortFunc(state.Services, func(a, b explain.Service) int { return strings.Compare(a.Name, b.Name) })
}

// describe returns what was decided for a Service.
func (t *term) describe(obj *corev1.Service, svc kube.Service) explain.Service {
	k := cache.MetaObjectToName(obj)
	held, _ := t.alloc.Held(k.String())
	s := explain.Service{Name: k.String(), Addrs: held.Addrs, Pools: held.Pools, Stranded: t.stranded[k], Waiting: t.waiting.Has(k)}
	if c := meta.FindStatusCondition(obj.Status.Conditions, kube.ConditionAllocated); c != nil {
		s.Reason, s.Message = c.Reason, c.Message
	}
	return s
}

// verdicts returns what each pool says to a Service.
func (t *term) verdicts(a *explain.Applicant) []explain.Verdict {
	if a.Invalid != nil {
		return nil
	}
	var out []explain.Verdict
	for _, r := range t.alloc.Survey(a.Request) {
		v := explain.Verdict{Pool: r.Pool, Addr: r.Addr}
		if r.Family != 0 {
			v.Family = r.Family.String()
		}
		if r.Reason != ipam.Reason(0) {
			v.Refusal = r.Why()
		}
		out = append(out, v)
	}
	return out
}

// maxMoves bounds the moves that are remembered.
const maxMoves = 256

// moveLog is the last moves that were heard of. Its methods may be called from any goroutine.
type moveLog struct {
	mu    sync.Mutex
	since map[netip.Addr]time.Time // of the holder known last
	moves []explain.Move           // the newest last
}

// note takes in who announces what now. What a speaker announces since it was started anew is no move: it has no cause.
func (h *moveLog) note(now map[netip.Addr]holder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := make(map[netip.Addr]time.Time, len(now))
	var news []explain.Move
	for addr, n := range now {
		since[addr] = n.Since
		if n.Cause != "" && !n.Since.Equal(h.since[addr]) && !h.remembers(addr, n.Since) {
			news = append(news, explain.Move{At: n.Since, Addr: addr, From: n.From, To: n.node, Cause: n.Cause, Took: n.Took})
		}
	}
	h.since = since
	h.moves = append(h.moves, news...)
	slices.SortStableFunc(h.moves, func(a, b explain.Move) int { return a.At.Compare(b.At) })
	if over := len(h.moves) - maxMoves; over > 0 {
		h.moves = slices.Clone(h.moves[over:])
	}
}

// remembers reports whether a move has been noted: its speaker may have been out of sight since. The caller holds h.mu.
func (h *moveLog) remembers(addr netip.Addr, at time.Time) bool {
	return slices.ContainsFunc(h.moves, func(m explain.Move) bool { return m.Addr == addr && m.At.Equal(at) })
}

// latest returns the moves, the newest first.
func (h *moveLog) latest() []explain.Move {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Clone(h.moves)
	slices.Reverse(out)
	return out
}
