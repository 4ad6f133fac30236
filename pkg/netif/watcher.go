package netif

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"time"
)

const (
	// defaultRescan is how often everything is read again in case an event was lost.
	defaultRescan = time.Minute
	// settle is the least time between two scans. The first event of a series is acted upon at once, the others
	// together.
	settle = 50 * time.Millisecond
	// retryAfter is how long to wait before subscribing again after netlink failed.
	retryAfter = time.Second
)

// Config configures a [Watcher].
type Config struct {
	// Logger receives failures of netlink.
	Logger *slog.Logger
	// Exclude are patterns of names that are never eligible; nil stands for [DefaultExclude].
	Exclude []*regexp.Regexp
	// Rescan is the time between scans without a cause; 0 stands for one minute.
	Rescan time.Duration
	// OnChange receives the first snapshot, and each that differs from the one before. The Watcher waits for it.
	OnChange func(*Snapshot)
}

// Watcher follows the interfaces of the network namespace it runs in.
type Watcher struct {
	cfg    Config
	source source

	// Only Run's goroutine touches the rest.
	known *Snapshot
	state map[int]link   // the links as of the last scan
	bumps map[int]uint64 // per index: see Interface.Epoch
}

// New returns a watcher that does nothing until it runs.
func New(cfg Config) *Watcher {
	if cfg.Exclude == nil {
		cfg.Exclude = DefaultExclude()
	}
	if cfg.Rescan == 0 {
		cfg.Rescan = defaultRescan
	}
	return &Watcher{cfg: cfg, source: kernel{}, bumps: make(map[int]uint64)}
}

// Run watches until ctx is done and then returns nil. Failures of netlink are logged and retried. It may run again later,
// and then hands over a first snapshot again.
func (w *Watcher) Run(ctx context.Context) error {
	w.known = nil
	for ctx.Err() == nil {
		if err := w.watch(ctx); err != nil && ctx.Err() == nil {
			w.cfg.Logger.Warn("watching interfaces failed, starting over", "error", err)
			w.scan()
			pause(ctx, retryAfter)
		}
	}
	return nil
}

// watch scans and follows the events of one subscription until it fails (the kernel's buffer overflowed, say) or ctx is
// done. It subscribes before it scans, so nothing falls in between.
func (w *Watcher) watch(ctx context.Context) error {
	sub, err := w.source.subscribe()
	if err != nil {
		return err
	}
	events := make(chan []event)
	failed := make(chan error, 1)
	stop := make(chan struct{})
	go func() { failed <- receive(sub, events, stop) }()
	err = w.follow(ctx, events, failed)
	close(stop)
	sub.close()
	if err == nil {
		<-failed
	}
	return err
}

// receive passes on what sub delivers until it fails.
func receive(sub subscription, out chan<- []event, stop <-chan struct{}) error {
	for {
		events, err := sub.next()
		if err != nil {
			return err
		}
		select {
		case out <- events:
		case <-stop:
			return nil
		}
	}
}

// follow scans at once, after events, and slowly in between. It returns nil when ctx is done.
func (w *Watcher) follow(ctx context.Context, events <-chan []event, failed <-chan error) error {
	w.scan()
	last := time.Now()
	timer := time.NewTimer(w.cfg.Rescan)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return fmt.Errorf("follow events: %w", err)
		case batch := <-events:
			if w.note(batch) {
				timer.Reset(max(0, time.Until(last.Add(settle))))
			}
		case <-timer.C:
			w.scan()
			last = time.Now()
			timer.Reset(w.cfg.Rescan)
		}
	}
}

// note takes in what the events say that a scan would not see, and reports whether they call for one.
func (w *Watcher) note(events []event) bool {
	relevant := false
	for _, e := range events {
		relevant = w.noteOne(e) || relevant
		if e.moved {
			relevant = w.noteAbove(e.index, make(map[int]bool)) || relevant
		}
	}
	return relevant
}

func (w *Watcher) noteOne(e event) bool {
	old, known := w.state[e.index]
	ignored := known && excluded(old.name, w.cfg.Exclude)
	switch {
	case e.removed:
		w.bumps[e.index]++
	case e.link == nil:
		// An address of an interface that is not even known means that a scan is due anyway.
		return !ignored
	case excluded(e.link.name, w.cfg.Exclude):
		return !ignored // renamed, or new: new ones are worth one scan, after that they are known
	case known && judge(old, w.cfg.Exclude) == Eligible && w.upset(old, e):
		w.bumps[e.index]++
	}
	return true
}

// noteAbove takes in that the interface with this index moved to another switch port: so did the bridge or bond it is in, and what
// is made on that. The kernel tells only the interface's own VLANs. It reports whether an eligible interface is concerned.
func (w *Watcher) noteAbove(index int, done map[int]bool) bool {
	master := w.state[index].master
	if master == 0 || done[master] {
		return false
	}
	done[master] = true
	relevant := w.noteMove(master)
	for above, l := range w.state {
		if l.parent == master {
			relevant = w.noteMove(above) || relevant
			relevant = w.noteAbove(above, done) || relevant
		}
	}
	return w.noteAbove(master, done) || relevant
}

// noteMove takes in that an interface moved, if it is eligible, and reports whether it is.
func (w *Watcher) noteMove(index int) bool {
	l, known := w.state[index]
	if !known || judge(l, w.cfg.Exclude) != Eligible {
		return false
	}
	w.bumps[index]++
	return true
}

// upset reports whether e makes stale what the neighbours know of an interface that was eligible, though the link may be
// back as it was by the time of the scan.
func (w *Watcher) upset(old link, e event) bool {
	return e.moved || judge(*e.link, w.cfg.Exclude) != Eligible || !bytes.Equal(old.mac, e.link.mac)
}

// scan reads everything and hands over the result if it is new.
func (w *Watcher) scan() {
	links, err := w.source.links()
	if err != nil {
		w.cfg.Logger.Warn("reading interfaces failed", "error", err)
		return
	}
	prefixes, err := w.source.prefixes()
	if err != nil {
		w.cfg.Logger.Warn("reading addresses failed", "error", err)
		return
	}
	w.state = make(map[int]link, len(links))
	interfaces := make([]Interface, 0, len(links))
	for _, l := range links {
		w.state[l.index] = l
		interfaces = append(interfaces, newInterface(l, prefixes[l.index], w.bumps[l.index], w.cfg.Exclude))
	}
	w.forget()
	if next := NewSnapshot(interfaces...); w.known == nil || !next.Equal(w.known) {
		w.known = next
		w.cfg.OnChange(next)
	}
}

// forget drops the counts of interfaces that are gone. Their indexes don't come back while the node runs.
func (w *Watcher) forget() {
	for index := range w.bumps {
		if _, ok := w.state[index]; !ok {
			delete(w.bumps, index)
		}
	}
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
