package responder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// backoffMin and backoffMax bound the pause before a failed socket is opened again.
	backoffMin = 10 * time.Millisecond
	backoffMax = 5 * time.Second
	// readLen is the room for a frame. What is longer than this asks nothing.
	readLen = 2048
)

// protocol is what differs between ARP and NDP.
type protocol struct {
	id        Protocol
	etherType uint16
	answer    func(frame []byte, s *snapshot, out *buffer) (int, *Counter, Drop)
	sight     func(frame []byte, s *snapshot) (Sighting, bool)
	announce  func(mac [6]byte, addr netip.Addr) [][]byte
	probe     func(s *snapshot, addr netip.Addr) []byte
	filter    func(s *snapshot, limit int) []bpf.Instruction
	groups    func(s *snapshot) []netip.Addr
}

var (
	protocolARP = protocol{
		ARP, etherTypeARP, answerARP, sightARP, announceARP, probeARP, filterARP, noGroups,
	}
	protocolNDP = protocol{
		NDP, etherTypeIPv6, answerNDP, sightNDP, announceNDP, probeNDP, filterNDP, (*snapshot).groups,
	}
)

func noGroups(*snapshot) []netip.Addr { return nil }

// lane answers one protocol on one interface.
type lane struct {
	protocol
	ifi        Interface
	open       opener
	log        *slog.Logger
	stats      *Stats
	onState    func()
	onSighting func(Sighting)
	alive      func() bool

	state atomic.Pointer[snapshot]
	// turn is odd while a frame is being answered from a snapshot.
	turn atomic.Uint64

	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex // guards the rest; never held while answering
	conn   conn       // nil while the socket is not open
	err    error      // why not
	groups []netip.Addr
}

// newLane opens a socket and starts to answer from s. If the socket doesn't open, the lane keeps trying.
func newLane(p protocol, cfg Config, s *snapshot) *lane {
	ctx, cancel := context.WithCancel(context.Background())
	l := &lane{
		protocol: p, ifi: cfg.Interface, open: cfg.open, stats: cfg.Stats,
		onState: cfg.OnState, onSighting: cfg.OnSighting, alive: cfg.Alive,
		log:    cfg.Logger.With("interface", cfg.Interface.Name, "protocol", p.id.String()),
		cancel: cancel, done: make(chan struct{}),
	}
	l.state.Store(s)
	if err := l.connect(ctx); err != nil {
		l.log.Warn("opening socket failed, trying again", "error", err)
	}
	go l.run(ctx)
	return l
}

// close stops answering. When it returns, nothing more is sent.
func (l *lane) close() {
	l.mu.Lock()
	l.cancel()
	if l.conn != nil {
		l.conn.interrupt()
	}
	l.mu.Unlock()
	<-l.done
}

// run answers until ctx is done, opening the socket again whenever it fails.
func (l *lane) run(ctx context.Context) {
	defer close(l.done)
	var pause backoff
	for ctx.Err() == nil {
		if c := l.current(); c != nil {
			started := time.Now()
			err := l.serve(ctx, c)
			l.disconnect(c, err)
			if ctx.Err() != nil {
				return
			}
			l.log.Warn("socket failed, opening it again", "error", err)
			l.onState()
			pause.lived(time.Since(started))
		}
		pause.wait(ctx)
		if err := l.connect(ctx); err != nil {
			l.log.Debug("opening socket failed again", "error", err)
			continue
		}
		if ctx.Err() == nil {
			l.log.Info("socket is open again")
			l.stats.Reopened.Add(1)
			l.onState()
		}
	}
	if c := l.current(); c != nil {
		l.disconnect(c, nil)
	}
}

// serve reads and answers until reading fails.
func (l *lane) serve(ctx context.Context, c conn) error {
	frame := make([]byte, readLen)
	out := new(buffer)
	for {
		n, err := c.read(frame)
		switch {
		case err == nil:
			l.handle(c, frame[:n], out)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("read frame: interrupted")
		default:
			return fmt.Errorf("read frame: %w", err)
		}
	}
}

// handle answers one frame, and tells who else claims an address. It is the hot path: see the package's documentation.
func (l *lane) handle(c conn, frame []byte, out *buffer) {
	l.turn.Add(1)
	defer l.turn.Add(1)
	s := l.state.Load()
	n, counter, drop := l.answer(frame, s, out)
	if drop == Answered && !l.alive() {
		drop = DropStale
	}
	if drop == Answered {
		counter.Requests.Add(1)
		if c.answer(out[:n]) == nil {
			counter.Answers.Add(1)
		} else {
			drop = DropSend
		}
	}
	// Last, so that no answer waits for it. What asks for one address may claim another.
	if sighting, ok := l.sight(frame, s); ok {
		l.stats.sightings[l.id].Add(1)
		l.onSighting(sighting)
	} else if drop != Answered {
		l.stats.drops[l.id][drop].Add(1)
	}
}

// set replaces the snapshot. When it returns, no frame is being answered from the one before.
func (l *lane) set(s *snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Store(s)
	l.quiesce()
	if l.conn == nil {
		return
	}
	old := l.groups
	l.joinGroups(s)
	if err := l.loadFilter(l.conn, s); err != nil {
		// The old filter would keep new addresses from being answered: start over with a new socket.
		l.log.Warn("replacing filter failed", "error", err)
		l.conn.interrupt()
	}
	for _, group := range old {
		if _, keep := slices.BinarySearchFunc(l.groups, group, netip.Addr.Compare); keep {
			continue
		}
		if err := l.conn.leave(group); err != nil {
			l.log.Debug("leaving group failed", "group", group, "error", err)
		}
	}
}

// quiesce waits until the frame that is being answered now, if any, is done. That takes some microseconds, unless the
// kernel put the answering thread aside.
func (l *lane) quiesce() {
	turn := l.turn.Load()
	for tries := 0; turn%2 == 1 && l.turn.Load() == turn; tries++ {
		if tries < 100 {
			runtime.Gosched()
			continue
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// announceAddr sends the gratuitous frames of addr and returns how many it sent.
func (l *lane) announceAddr(addr netip.Addr, entry Entry) (int, error) {
	frames := l.announce(l.ifi.MAC, addr)
	l.tellKernel(frames) // first: as soon as clients have heard, it may redirect them
	n, err := l.sendAll(frames)
	entry.Counter.Announcements.Add(uint64(n))
	if err != nil {
		return n, fmt.Errorf("announce %s: %w", addr, err)
	}
	return n, nil
}

// probeAddr sends one probe for addr and returns how many frames it sent: 1, or 0 with an error.
func (l *lane) probeAddr(addr netip.Addr, _ Entry) (int, error) {
	n, err := l.sendAll([][]byte{l.probe(l.state.Load(), addr)})
	l.stats.Probes.Add(uint64(n))
	if err != nil {
		return n, fmt.Errorf("probe for %s: %w", addr, err)
	}
	return n, nil
}

// tellKernel tells this node's kernel what frames announce. There is not much to do about it if that fails.
func (l *lane) tellKernel(frames [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return
	}
	for _, frame := range frames {
		if err := l.conn.tellKernel(frame); err != nil {
			l.log.Debug("the node's own kernel was not told", "error", err)
		}
	}
}

// sendAll sends frames and returns how many it sent.
func (l *lane) sendAll(frames [][]byte) (sent int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return 0, fmt.Errorf("socket is not open: %w", l.err)
	}
	for _, frame := range frames {
		if err := l.conn.send(frame); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// connect opens the socket for the snapshot as it is.
func (l *lane) connect(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return nil
	}
	s := l.state.Load()
	l.err = withSmallerFilters(l.protocol, s, func(filter []bpf.RawInstruction) (err error) {
		l.conn, err = l.open(l.ifi, l.etherType, filter)
		return err
	})
	if l.err != nil {
		l.conn = nil
		return l.err
	}
	l.groups = nil
	l.joinGroups(s)
	return nil
}

// disconnect closes c because of err.
func (l *lane) disconnect(c conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn, l.err = nil, err
	c.close()
}

func (l *lane) current() conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

// failure returns why the lane is not answering, nil if it is.
func (l *lane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// joinGroups joins those groups of s that have not been joined.
func (l *lane) joinGroups(s *snapshot) {
	want := l.protocol.groups(s)
	for _, group := range want {
		if _, joined := slices.BinarySearchFunc(l.groups, group, netip.Addr.Compare); joined {
			continue
		}
		if err := l.conn.join(group); err != nil {
			l.log.Debug("joining group failed", "group", group, "error", err)
		}
	}
	l.groups = want
}

func (l *lane) loadFilter(c conn, s *snapshot) error {
	return withSmallerFilters(l.protocol, s, c.setFilter)
}

// withSmallerFilters calls use with the filter of s, and with ever coarser ones as long as the kernel says that a filter
// takes too much memory.
func withSmallerFilters(p protocol, s *snapshot, use func([]bpf.RawInstruction) error) error {
	for limit := maxIntervals; ; limit /= 2 {
		var code []bpf.Instruction
		code, limit = p.fit(s, limit)
		filter, err := assembleFilter(code)
		if err != nil {
			return err
		}
		if err = use(filter); err == nil || limit == 1 || !errors.Is(err, unix.ENOMEM) {
			return err
		}
	}
}

// fit returns a filter of s of no more instructions than a program may have, and how many intervals it has room for: limit or
// less.
func (p protocol) fit(s *snapshot, limit int) ([]bpf.Instruction, int) {
	for {
		if code := p.filter(s, limit); len(code) <= maxProgram || limit == 1 {
			return code, limit
		}
		limit -= limit/8 + 1
	}
}

// backoff is a pause that doubles each time.
type backoff struct{ next time.Duration }

// lived starts over if the socket worked for a good while.
func (b *backoff) lived(d time.Duration) {
	if d > 2*backoffMax {
		b.next = 0
	}
}

// step returns the pause to make now.
func (b *backoff) step() time.Duration {
	pause := min(max(b.next, backoffMin), backoffMax)
	b.next = 2 * pause
	return pause
}

func (b *backoff) wait(ctx context.Context) {
	timer := time.NewTimer(b.step())
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
