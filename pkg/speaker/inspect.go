package speaker

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
	"github.com/invar-lb/invar/pkg/netif"
)

// askWait is how long whoever asks waits until the worker has a moment for it.
const askWait = 3 * time.Second

// errBusy is why there is no answer.
var errBusy = errors.New("the speaker has not got to it: it starts, stops, or asks its peers")

// ask runs f on the goroutine of work and waits until it is done.
func (s *Speaker) ask(ctx context.Context, f func()) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	done := make(chan struct{})
	select {
	case s.asks <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-ctx.Done():
		return errBusy
	}
}

// State returns what this speaker knows and does. It is worked out now: nothing is kept for it. Before the speaker takes part,
// only its interfaces are known.
func (s *Speaker) State(r *http.Request) (any, error) {
	state := explain.SpeakerState{
		Node: s.cfg.Node, Version: s.cfg.Version, Since: s.began, Now: time.Now(),
		Members: []explain.Member{}, Addresses: []explain.Address{},
	}
	own := s.announcer.State()
	for _, i := range own.Interfaces {
		skip := string(i.Skip)
		if skip == "" {
			skip = i.Error
		}
		kernel := netif.SettingsOf(i.Name)
		state.Interfaces = append(state.Interfaces, explain.Interface{
			Name: i.Name, MAC: i.MAC.String(), Prefixes: i.Prefixes, Skip: skip,
			RPFilter: kernel.RPFilter, Promiscuous: kernel.Promiscuous, Wireless: kernel.Wireless, DefaultRoute: kernel.DefaultRoute,
		})
	}
	for _, c := range own.Conflicts {
		state.Conflicts = append(state.Conflicts, explain.Conflict{
			Addr: c.Address, MAC: c.MAC.String(), Interface: c.Interface, Since: c.Since, Last: c.Last,
		})
	}
	if err := s.Ready(); err != nil {
		state.NotReady = err.Error()
		return state, nil
	}
	var rest func()
	if err := s.ask(r.Context(), func() { rest = s.tell(&state, own) }); err != nil {
		return nil, err
	}
	rest()
	return state, nil
}

// tell adds to state what belongs to the worker, and returns how to complete it without: a judgement of each node for each address
// may take longer than a failover should wait.
func (s *Speaker) tell(state *explain.SpeakerState, own layer2.State) (rest func()) {
	state.Draining, state.Blocked = s.draining, s.blocked.now
	state.Config = s.source.State()
	state.Members = s.membersSeen()
	state.Moves = s.moves.latest()
	in := s.inputs(s.peers)
	in.abilities = maps.Clone(s.known.of)
	since := s.announced // replaced and never changed
	return func() { state.Addresses = s.addresses(&in, own, since) }
}

// membersSeen returns the members, dead or alive on the wire.
func (s *Speaker) membersSeen() []explain.Member {
	out := []explain.Member{}
	for _, p := range s.members.Peers() {
		out = append(out, explain.Member{
			Name: p.Name, Addr: p.Addr, Announcing: p.Meta.Announcing, Draining: p.Meta.Draining, Observer: p.Meta.Observer,
			Silent: !p.Meta.Observer && !lives(s.peers, p.Name),
		})
	}
	return out
}

func lives(peers []membership.Peer, node string) bool {
	return slices.ContainsFunc(peers, func(p membership.Peer) bool { return p.Name == node })
}

// addresses returns what is known of each address, given since when each is announced. It uses nothing of the worker's.
func (s *Speaker) addresses(in *inputs, own layer2.State, since map[announced]time.Time) []explain.Address {
	f := gather(*in)
	claims := s.members.Claims()
	desired := make(map[netip.Addr]layer2.AddressState, len(own.Addresses))
	for _, a := range own.Addresses {
		desired[a.Address] = a
	}
	bars := in.bars(s.nodesToJudge(in))
	out := make([]explain.Address, 0, len(f.addresses))
	for _, a := range f.addresses {
		claim := claims[a.Addr]
		e := explain.Address{Addr: a.Addr, Holder: claim.Node, Seq: claim.Seq, Prefer: a.Prefer, Nodes: bars[a.Addr]}
		for _, service := range f.services[a.Addr] {
			e.Services = append(e.Services, service.String())
			e.Since = since[announced{service, a.Addr}]
		}
		slices.Sort(e.Services)
		if pool := poolOf(in.pools, a.Addr); pool != nil {
			e.Pool = pool.Name
		}
		if d, ok := desired[a.Addr]; ok {
			e.Role = role(d)
		}
		e.Interfaces, e.NoInterface = s.announcer.Carriers(a.Addr, f.announce[a.Addr])
		out = append(out, e)
	}
	return out
}

func role(d layer2.AddressState) explain.Role {
	switch {
	case d.Tentative:
		return explain.RoleProbe
	case d.Quiet:
		return explain.RoleQuiet
	}
	return explain.RoleHold
}

// bars returns for each address which of nodes may hold it, and why the others may not, given why each may announce nothing at
// all. An address of several Services is announced from where one of them may be.
func (in *inputs) bars(nodes map[string]explain.Bar) map[netip.Addr][]explain.Eligibility {
	names := slices.Sorted(maps.Keys(nodes))
	out := map[netip.Addr][]explain.Eligibility{}
	for c := range in.claimants() {
		verdicts := out[c.addr]
		if verdicts == nil {
			for _, node := range names {
				verdicts = append(verdicts, explain.Eligibility{Node: node, Bar: in.judge(nodes[node], node, &c)})
			}
			out[c.addr] = verdicts
			continue
		}
		for i, node := range names {
			if bar := in.judge(nodes[node], node, &c); bar == explain.BarNone {
				verdicts[i].Bar = bar
			}
		}
	}
	return out
}

// nodesToJudge returns all nodes that Kubernetes or the gossip know of, each with why it may announce nothing at all.
func (s *Speaker) nodesToJudge(in *inputs) map[string]explain.Bar {
	nodes := map[string]explain.Bar{}
	for node := range in.nodes {
		nodes[node] = explain.BarNoSpeaker
	}
	for _, p := range s.members.Peers() {
		if !p.Meta.Observer {
			nodes[p.Name] = explain.BarSilent
		}
	}
	for _, p := range in.peers {
		nodes[p.Name] = in.unfit(p)
	}
	return nodes
}

// judge returns why a node may not announce the address, given why it may announce nothing. A speaker calls itself unable also if
// it can carry none of the addresses that there are: then what is in the way of this one says more.
func (in *inputs) judge(unfit explain.Bar, node string, c *claimant) explain.Bar {
	switch unfit {
	case explain.BarNone:
		return in.bar(node, c)
	case explain.BarUnable:
		return cmp.Or(in.bar(node, c), unfit)
	}
	return unfit
}

// maxMoves bounds the moves that are remembered.
const maxMoves = 256

// moves are the last ones, the oldest overwritten first. They belong to the goroutine of work.
type moves struct {
	ring []explain.Move
	next int
}

func (m *moves) add(move explain.Move) {
	if len(m.ring) < maxMoves {
		m.ring = append(m.ring, move)
		return
	}
	m.ring[m.next] = move
	m.next = (m.next + 1) % maxMoves
}

// latest returns the moves, the newest first.
func (m *moves) latest() []explain.Move {
	out := slices.Concat(m.ring[m.next:], m.ring[:m.next])
	slices.Reverse(out)
	return out
}
