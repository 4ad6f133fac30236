package controller

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/membership"
)

// gossip is this controller's place among the speakers: a silent member, who hears what they observe. They need no right
// to write to Services then, and the controller no connection to each of them.
type gossip struct {
	members atomic.Pointer[membership.Members] // nil until it takes part
	news    chan struct{}                      // of size 1
	changed chan struct{}                      // of size 1: the key or the list of speakers may have changed
}

const (
	// listenRetry is the pause before the port is tried again that the gossip needs.
	listenRetry = 2 * time.Second
	// observerHeartbeat is how often the controller looks after one of the speakers itself. They tell it of a failure, and it does
	// nothing about one; a question wakes the speaker.
	observerHeartbeat = 5 * time.Second
	// secretRetry is that before the Secret is tried again to be made.
	secretRetry = time.Second
	// wordEvery is how often what the speakers say is taken over at most. When many addresses are announced at once each of hundreds
	// of speakers says so several times in a second, and all that all have said is gone through for each.
	wordEvery = 100 * time.Millisecond
)

func newGossip() *gossip {
	return &gossip{news: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // already poked
	}
}

// listen takes part in the gossip until ctx is done. Without it the controller works as well; it only knows less. So what goes
// wrong here is told and tried again.
func (c *Controller) listen(ctx context.Context) {
	if !c.cfg.BindAddr.IsValid() {
		return
	}
	m, err := c.takePart(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.cfg.Logger.Error("can't listen to the speakers: address conflicts and who announces are not shown", "err", err)
		}
		return
	}
	c.gossip.members.Store(m)
	changed, gone := make(chan struct{}, 1), make(chan struct{}, 1)
	var helpers sync.WaitGroup
	helpers.Go(func() { m.KeepJoining(ctx, c.listed, changed) })
	helpers.Go(func() { c.keepSecret(ctx, gone) })
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.gossip.changed:
			text := kube.SecretText(c.secret, c.secretName())
			if len(text) == 0 {
				poke(gone)
			}
			if err := m.Follow(text); err != nil {
				c.cfg.Logger.Error("the speakers' key can't be changed", "err", err)
			}
			poke(changed)
		}
	}
	helpers.Wait()
	if err := m.Close(); err != nil {
		c.cfg.Logger.Debug("the gossip was not left in order", "err", err)
	}
}

// keepSecret makes the Secret again whenever it is gone: who deletes it wants the speakers to have another key.
func (c *Controller) keepSecret(ctx context.Context, gone <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-gone:
			_ = kube.EnsureSecret(ctx, c.cfg.Client, c.cfg.Namespace, c.cfg.Secret, secretRetry, c.cfg.Logger) // ctx is done
		}
	}
}

// takePart waits for what it takes to be a member, and for the port to be free.
func (c *Controller) takePart(ctx context.Context) (*membership.Members, error) {
	for _, inf := range []cache.SharedIndexInformer{c.secret, c.speakers} {
		if _, err := kube.OnEvent(inf, func(cache.ObjectName) { poke(c.gossip.changed) }); err != nil {
			return nil, err
		}
	}
	if err := kube.Start(ctx, c.secret, c.speakers); err != nil {
		return nil, err
	}
	text, err := kube.WaitForSecret(ctx, c.secret, c.secretName(), c.gossip.changed, c.cfg.Logger)
	if err != nil {
		return nil, err
	}
	key, err := membership.DeriveKey(text)
	if err != nil {
		return nil, err
	}
	for {
		m, err := membership.Start(membership.Config{
			Node: "controller/" + c.cfg.Identity, BindAddr: c.cfg.BindAddr, Port: c.cfg.Port, Key: key, Logger: c.cfg.Logger,
			Heartbeat: observerHeartbeat, OnChange: func() { poke(c.gossip.news) }, Meta: membership.Meta{Observer: true},
			OnClaims: func() {}, // what they announce counts, not what they claim
		})
		if err == nil {
			return m, nil
		}
		c.cfg.Logger.Warn("can't listen to the speakers now; will try again", "err", err)
		select {
		case <-time.After(listenRetry):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// listed returns where the speakers are.
func (c *Controller) listed() []netip.AddrPort {
	return kube.SpeakersBeside(c.speakers, c.cfg.BindAddr, c.cfg.Port)
}

func (c *Controller) secretName() cache.ObjectName {
	return cache.NewObjectName(c.cfg.Namespace, c.cfg.Secret)
}

// word is what the speakers say of the addresses.
type word struct {
	conflicts map[netip.Addr]string // that foreign hosts use, in words
	holders   map[netip.Addr]holder // that are announced
	// complete: each speaker in sight has said what it announces, so that an address which is no holder's is announced by nobody.
	complete bool
}

// holder is who announces an address.
type holder struct {
	node string
	membership.Holding
}

// String returns for example "node2 on eth0".
func (h holder) String() string { return h.node + " on " + strings.Join(h.Interfaces, ", ") }

// heard returns what the speakers say.
func (c *Controller) heard() word {
	m := c.gossip.members.Load()
	if m == nil {
		return word{}
	}
	said := m.Holdings()
	w := word{conflicts: conflicts(m.Reports()), holders: holders(said)}
	for _, p := range m.Peers() {
		if _, ok := said[p.Name]; ok {
			w.complete = true
		} else if !p.Meta.Observer {
			w.complete = false
			break
		}
	}
	c.moves.note(w.holders)
	return w
}

// holders returns who announces each address. During a planned move two nodes do: the one that began later is the holder.
func holders(said map[string][]membership.Holding) map[netip.Addr]holder {
	out := map[netip.Addr]holder{}
	for node, held := range said {
		for _, h := range held {
			old, ok := out[h.Addr]
			if !ok || h.Since.After(old.Since) || h.Since.Equal(old.Since) && node < old.node {
				out[h.Addr] = holder{node, h}
			}
		}
	}
	return out
}

// conflicts puts the speakers' observations of each address into words.
func conflicts(reports map[string]membership.Observations) map[netip.Addr]string {
	seen := map[netip.Addr][]string{}
	for node, o := range reports {
		for _, c := range o.Conflicts {
			seen[c.Addr] = append(seen[c.Addr], fmt.Sprintf("%s on interface %s of node %s", c.MAC, c.Interface, node))
		}
	}
	out := make(map[netip.Addr]string, len(seen))
	for addr, by := range seen {
		slices.Sort(by)
		out[addr] = fmt.Sprintf("%s is used by a host outside the cluster: seen from %s", addr, strings.Join(by, ", "))
	}
	return out
}

// loadWord takes over what has been heard and looks again at the Services that it is about.
func (t *term) loadWord() {
	old := t.word
	t.word = t.hear()
	changed := func(a netip.Addr) bool {
		return t.word.conflicts[a] != old.conflicts[a] || t.word.holders[a].String() != old.holders[a].String()
	}
	var affected []*corev1.Service
	for _, s := range kube.List[corev1.Service](t.services) {
		if t.word.complete != old.complete || slices.ContainsFunc(kube.ServiceOf(s).Ingress, changed) {
			affected = append(affected, s)
		}
	}
	t.requeue(affected)
}
