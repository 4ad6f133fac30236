package membership

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Back-off of KeepJoining.
const (
	joinSoon  = 200 * time.Millisecond
	joinLater = 2 * time.Second
)

// Two members that join tell each other all that each knows. So one that has met a few knows all, while a node of hundreds that met
// each of them would have to read as many times the same, and all together the square of that: just when something is wrong. If none of
// joinAtOnce answers, others are asked joinMore later.
const (
	joinAtOnce = 8
	joinMore   = 100 * time.Millisecond
)

// Lister returns where speakers are said to be, dead or alive, this one not included.
type Lister func() []netip.AddrPort

// Join contacts the given speakers, all at once, and exchanges members and claims with each that answers. It returns
// how many did, and the errors of the others. When it returns, what the reached ones know is known here.
func (m *Members) Join(addrs []netip.AddrPort) (int, error) {
	errs := make([]error, len(addrs))
	var wg sync.WaitGroup
	for i, a := range addrs {
		wg.Go(func() { _, errs[i] = m.list.Join([]string{a.String()}) })
	}
	wg.Wait()
	err := errors.Join(errs...)
	return len(addrs) - len(slices.DeleteFunc(errs, func(err error) bool { return err == nil })), err
}

// split tells those of addrs where members are from those where none is.
func (m *Members) split(addrs []netip.AddrPort) (members, missing []netip.AddrPort) {
	known := map[netip.AddrPort]bool{}
	for _, p := range m.Peers() {
		known[p.addrPort()] = true
	}
	for _, a := range addrs {
		if known[a] {
			members = append(members, a)
		} else {
			missing = append(missing, a)
		}
	}
	return members, missing
}

// missing returns the listed speakers that are no members.
func (m *Members) missing(listed Lister) []netip.AddrPort {
	_, missing := m.split(listed())
	return missing
}

// shuffle brings addrs into a random order and returns them: not all are to ask the same ones first.
func shuffle(addrs []netip.AddrPort) []netip.AddrPort {
	rand.Shuffle(len(addrs), func(i, j int) { addrs[i], addrs[j] = addrs[j], addrs[i] })
	return addrs
}

// some returns joinAtOnce of addrs at random, or all if there are no more. It changes their order.
func some(addrs []netip.AddrPort) []netip.AddrPort {
	return shuffle(addrs)[:min(joinAtOnce, len(addrs))]
}

// JoinAll joins listed speakers until none is missing, or for as long as wait. A cluster whose speakers all start at
// once would fight over everything if each claimed before it has met the others.
func (m *Members) JoinAll(ctx context.Context, listed Lister, wait time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	met := map[netip.AddrPort]bool{} // whether it became a member by that or not
	for ctx.Err() == nil {
		missing := slices.DeleteFunc(m.missing(listed), func(a netip.AddrPort) bool { return met[a] })
		if len(missing) == 0 {
			return
		}
		asked := some(missing)
		n, err := m.Join(asked)
		if n == len(asked) {
			for _, a := range asked {
				met[a] = true
			}
			continue
		}
		m.cfg.Logger.Debug("not all speakers reached", "reached", n, "asked", len(asked), "err", err)
		select {
		case <-time.After(joinSoon):
		case <-ctx.Done():
		}
	}
}

// KeepJoining joins listed speakers that are no members, until ctx is done: whenever again says that something has
// changed, since a cable may be back, and in any case now and then, since a partition may end without a sign.
func (m *Members) KeepJoining(ctx context.Context, listed Lister, again <-chan struct{}) {
	wait := joinSoon
	for ctx.Err() == nil {
		var retry <-chan time.Time
		begin := time.Now()
		if missing := m.missing(listed); len(missing) > 0 {
			if n, _ := m.Join(some(missing)); n < len(missing) {
				retry = time.After(wait)
				wait = min(2*wait, joinLater)
			}
		} else {
			wait = joinSoon
		}
		took := time.Since(begin)
		select {
		case <-ctx.Done():
		case <-retry:
		case <-again:
			wait = joinSoon
			select { // what happens at once is looked at once; and who is slow is not to be asked all the time
			case <-time.After(max(joinSoon/4, took)):
			case <-ctx.Done():
			}
		}
	}
}

var errNoPeer = errors.New("no peer answered in time")

// JoinAny exchanges claims with listed speakers, members first, and returns as soon as one has answered, or an error if none has
// within wait. If none is listed there is nobody to ask, which is no error.
func (m *Members) JoinAny(listed Lister, wait time.Duration) error {
	members, missing := m.split(listed())
	rest := append(shuffle(members), shuffle(missing)...)
	if len(rest) == 0 {
		return nil
	}
	reached := make(chan bool, len(rest))
	timeout, more := time.After(wait), time.After(0)
	for open := 0; open+len(rest) > 0; {
		select {
		case <-more:
			asked := rest[:min(joinAtOnce, len(rest))]
			rest = rest[len(asked):]
			open += len(asked)
			for _, a := range asked {
				go func() {
					n, _ := m.Join([]netip.AddrPort{a})
					reached <- n == 1
				}()
			}
			more = nil
			if len(rest) > 0 {
				more = time.After(joinMore)
			}
		case ok := <-reached:
			if ok {
				return nil
			}
			open--
		case <-timeout:
			return errNoPeer
		}
	}
	return errNoPeer
}
