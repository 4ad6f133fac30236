package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

const (
	// settle is for how long nothing must happen before a round, after a fault and after its undoing.
	settle = time.Second
	// undecided is how long ago an attempt may have begun whose end is not known yet: more than it has time.
	undecided = 400 * time.Millisecond
)

// watch is what the host on the LAN sees of the address.
type watch struct {
	prober *cluster.Prober
	asker  *cluster.Asker
}

func (b *bench) watch() (*watch, error) {
	asker, err := b.Ask(cluster.Client, b.addr.Addr())
	if err != nil {
		return nil, err
	}
	return &watch{b.Probe(cluster.Client, b.addr), asker}, nil
}

func (w *watch) stop() error {
	w.prober.Stop()
	return w.asker.Stop()
}

// quiet waits until, since the given time, connections have succeeded and one node alone has answered for as long as settle,
// and returns that node's MAC. It must not be the one that is not wanted.
func (w *watch) quiet(ctx context.Context, since time.Time, unwanted string) (mac string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not quiet within "+patience.String()))
	defer cancel()
	err = cluster.Eventually(ctx, func() (err error) {
		now := time.Now().Round(0)
		if t := now.Add(-settle - undecided); t.After(since) {
			since = t
		}
		if err := calm(w.prober.Since(since)); err != nil {
			return err
		}
		_, replies, err := w.asker.Since(since)
		if err != nil {
			return err
		}
		if mac, err = only(replies, now); err == nil && mac == unwanted {
			err = fmt.Errorf("%s still answers", mac)
		}
		return err
	})
	return mac, err
}

// calm returns nil if attempts were made for as long as settle and none failed.
func calm(attempts []cluster.Attempt) error {
	for _, a := range attempts {
		if a.Err != nil {
			return a.Err
		}
	}
	if len(attempts) == 0 || attempts[len(attempts)-1].Start.Sub(attempts[0].Start) < settle {
		return errors.New("not enough attempts yet")
	}
	return nil
}

// only returns the one MAC that has answered for as long as settle, without a lapse, until now.
func only(replies []cluster.Sighting, now time.Time) (string, error) {
	spans := cluster.Spans(replies)
	if len(spans) != 1 {
		return "", fmt.Errorf("answered %d times, want one time of answers", len(spans))
	}
	s := spans[0]
	if s.Last.Sub(s.First) < settle || now.Sub(s.Last) > cluster.Lapse {
		return "", fmt.Errorf("%s has answered for %s", s.MAC, s.Last.Sub(s.First))
	}
	return s.MAC, nil
}

// times are the moments of a round.
type times struct {
	fault, undo time.Time
}

// round injects a fault once, undoes it, and returns what was seen.
func (b *bench) round(ctx context.Context, k kind) (l line, err error) {
	if err := b.ready(ctx); err != nil {
		return line{}, err
	}
	if k.before != nil {
		if err := k.before(ctx, b); err != nil {
			return line{}, err
		}
	}
	w, err := b.watch()
	if err != nil {
		return line{}, err
	}
	t, macs, node, err := b.fault(ctx, k, w)
	if err = errors.Join(err, w.stop()); err != nil {
		return line{}, err
	}
	attempts := w.prober.Since(t.fault)
	asked, replies, err := w.asker.Since(t.fault.Add(-cluster.Lapse))
	if err != nil {
		return line{}, err
	}
	tell(node, t, attempts)
	l = evaluate(k, t, attempts, asked, replies, len(b.Nodes()))
	if macs[0] != macs[1] {
		l.Moves = 1
	}
	if k.after != nil {
		err = k.after(ctx, b, node)
	}
	return l, err
}

// fault injects and undoes the fault, and returns when it did, which MAC answered before and after the undoing, and the node
// that was hit.
func (b *bench) fault(ctx context.Context, k kind, w *watch) (t times, macs [2]string, node string, err error) {
	holder, err := w.quiet(ctx, time.Now().Round(0), "")
	if err != nil {
		return t, macs, "", fmt.Errorf("wait for quiet before the fault: %w", err)
	}
	if node, err = b.nodeOf(holder); err != nil {
		return t, macs, node, err
	}
	t.fault = time.Now().Round(0)
	if err := k.inject(ctx, b, node); err != nil {
		return t, macs, node, err
	}
	unwanted := ""
	if k.moves {
		unwanted = holder
	}
	if macs[0], err = w.quiet(ctx, time.Now().Round(0), unwanted); err != nil {
		return t, macs, node, fmt.Errorf("wait for recovery: %w", err)
	}
	t.undo = time.Now().Round(0)
	if k.undo != nil {
		if err := k.undo(ctx, b, node); err != nil {
			return t, macs, node, err
		}
	}
	if err := b.ready(ctx); err != nil {
		return t, macs, node, err
	}
	if macs[1], err = w.quiet(ctx, time.Now().Round(0), ""); err != nil {
		err = fmt.Errorf("wait for quiet after the fault was undone: %w", err)
	}
	return t, macs, node, err
}

func (b *bench) nodeOf(mac string) (string, error) {
	nodes := b.Nodes()
	i := slices.IndexFunc(nodes, func(h cluster.Host) bool { return h.MAC == mac })
	if i < 0 {
		return "", fmt.Errorf("%s is answered by %s, which is no node", b.addr, mac)
	}
	return nodes[i].Name, nil
}

// tell says when connections failed and why, with neighbours drawn together.
func tell(node string, t times, attempts []cluster.Attempt) {
	progress("%s was hit; the fault was undone after %d ms", node, t.undo.Sub(t.fault).Milliseconds())
	for i := 0; i < len(attempts); i++ {
		if attempts[i].Err == nil {
			continue
		}
		from := i
		for i+1 < len(attempts) && attempts[i+1].Err != nil {
			i++
		}
		progress("%d connections failed from %d to %d ms after the fault: %v", i-from+1,
			attempts[from].Start.Sub(t.fault).Milliseconds(), attempts[i].Start.Sub(t.fault).Milliseconds(), attempts[i].Err)
	}
}
