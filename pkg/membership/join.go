package membership

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Back-off of KeepJoining.
const (
	joinSoon  = 200 * time.Millisecond
	joinLater = 2 * time.Second
)

// Lister returns where speakers are said to be, dead or alive, this one not included.
type Lister func() []netip.AddrPort

// missing returns the listed speakers that are no members.
func (m *Members) missing(listed Lister) []netip.AddrPort {
	members := map[netip.AddrPort]bool{}
	for _, n := range m.live() {
		addr, _ := netip.AddrFromSlice(n.Addr)
		members[netip.AddrPortFrom(addr.Unmap(), n.Port)] = true
	}
	return slices.DeleteFunc(listed(), func(a netip.AddrPort) bool { return members[a] })
}

// JoinAll joins the listed speakers until none is missing, or for as long as wait. A cluster whose speakers all start at
// once would fight over everything if each claimed before it has met the others.
func (m *Members) JoinAll(ctx context.Context, listed Lister, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		missing := m.missing(listed)
		if len(missing) == 0 {
			return
		}
		n, err := m.Join(missing)
		if n == len(missing) {
			return
		}
		m.cfg.Logger.Debug("not all speakers reached", "reached", n, "listed", len(missing), "err", err)
		select {
		case <-time.After(joinSoon):
		case <-ctx.Done():
			return
		}
	}
}

// KeepJoining joins listed speakers that are no members, until ctx is done: whenever again says that something has
// changed, since a cable may be back, and in any case now and then, since a partition may end without a sign.
func (m *Members) KeepJoining(ctx context.Context, listed Lister, again <-chan struct{}) {
	wait := joinSoon
	for ctx.Err() == nil {
		var retry <-chan time.Time
		if missing := m.missing(listed); len(missing) > 0 {
			if n, _ := m.Join(missing); n < len(missing) {
				retry = time.After(wait)
				wait = min(2*wait, joinLater)
			}
		} else {
			wait = joinSoon
		}
		select {
		case <-ctx.Done():
		case <-retry:
		case <-again:
			wait = joinSoon
			select { // what happens at once is looked at once
			case <-time.After(joinSoon / 4):
			case <-ctx.Done():
			}
		}
	}
}

var errNoPeer = errors.New("no peer answered in time")

// JoinAny exchanges claims with the listed speakers and returns as soon as one has answered, or an error if none has
// within wait. If none is listed there is nobody to ask, which is no error.
func (m *Members) JoinAny(listed Lister, wait time.Duration) error {
	addrs := listed()
	if len(addrs) == 0 {
		return nil
	}
	reached := make(chan bool, len(addrs))
	for _, a := range addrs {
		go func() {
			n, _ := m.Join([]netip.AddrPort{a})
			reached <- n == 1
		}()
	}
	timeout := time.After(wait)
	for range addrs {
		select {
		case ok := <-reached:
			if ok {
				return nil
			}
		case <-timeout:
			return errNoPeer
		}
	}
	return errNoPeer
}
