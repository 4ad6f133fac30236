package controller

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

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

func newGossip() *gossip {
	return &gossip{news: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // already poked
	}
}

// listen takes part in the gossip until ctx is done. Without it the controller works as well; it only knows less.
func (c *Controller) listen(ctx context.Context) error {
	if !c.cfg.BindAddr.IsValid() {
		return nil
	}
	for _, inf := range []cache.SharedIndexInformer{c.secret, c.speakers} {
		if _, err := kube.OnEvent(inf, func(cache.ObjectName) { poke(c.gossip.changed) }); err != nil {
			return err
		}
	}
	if err := kube.Start(ctx, c.secret, c.speakers); err != nil {
		return ignoreIfDone(ctx, err)
	}
	key, err := c.waitForKey(ctx)
	if err != nil {
		return ignoreIfDone(ctx, err)
	}
	m, err := membership.Start(membership.Config{
		Node: "controller/" + c.cfg.Identity, BindAddr: c.cfg.BindAddr, Port: c.cfg.Port, Key: key, Logger: c.cfg.Logger,
		OnChange: func() { poke(c.gossip.news) }, Meta: membership.Meta{Observer: true},
	})
	if err != nil {
		return err
	}
	c.gossip.members.Store(m)
	changed := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() { defer close(done); m.KeepJoining(ctx, c.listed, changed) }()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-c.gossip.changed:
			c.rotateKey(m)
			poke(changed)
		}
	}
	<-done
	return m.Close()
}

func ignoreIfDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// listed returns where the speakers are.
func (c *Controller) listed() []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range kube.Addresses(c.speakers) {
		if a.Is4() == c.cfg.BindAddr.Is4() {
			out = append(out, netip.AddrPortFrom(a, uint16(c.cfg.Port)))
		}
	}
	return out
}

func (c *Controller) waitForKey(ctx context.Context) ([]byte, error) {
	for {
		if key, err := c.key(); key != nil || err != nil {
			return key, err
		}
		select {
		case <-c.gossip.changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// key returns the speakers' key, nil if there is none yet.
func (c *Controller) key() ([]byte, error) {
	text := kube.SecretText(c.secret, cache.NewObjectName(c.cfg.Namespace, c.cfg.Secret))
	if len(text) == 0 {
		return nil, nil
	}
	return membership.DeriveKey(text)
}

func (c *Controller) rotateKey(m *membership.Members) {
	key, err := c.key()
	if err == nil && key != nil {
		err = m.Rotate(key)
	}
	if err != nil {
		c.cfg.Logger.Error("the speakers' key can't be changed", "err", err)
	}
}

// heard returns what the speakers say of addresses that foreign hosts use, in words.
func (c *Controller) heard() map[netip.Addr]string {
	m := c.gossip.members.Load()
	if m == nil {
		return nil
	}
	return conflicts(m.Reports())
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

// loadConflicts takes over what has been heard and looks again at the Services that it is about.
func (t *term) loadConflicts() {
	now := t.hear()
	var affected []*corev1.Service
	for _, s := range kube.List[corev1.Service](t.services) {
		if slices.ContainsFunc(kube.ServiceOf(s).Ingress, func(a netip.Addr) bool { return now[a] != t.conflicts[a] }) {
			affected = append(affected, s)
		}
	}
	t.conflicts = now
	t.requeue(affected)
}
