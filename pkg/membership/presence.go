package membership

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Presence: a speaker keeps a TCP connection, over which nothing is said, to each peer that it watches. When the peer's
// process ends, its kernel closes the connection and refuses the next one. That is certain and takes no longer than a frame;
// heartbeats would need three seconds.
//
// The connections go to memberlist's port. A first byte that memberlist never sends tells them from its own.
const (
	presenceHello = 'I'
	presenceReply = 'i'
	// helloWait bounds how long a connection may take to say what it is.
	helloWait = time.Second

	redialSoon  = 50 * time.Millisecond
	redialLater = 2 * time.Second
)

// waitForEnd returns when the other end closes conn, or says anything.
func waitForEnd(conn net.Conn) {
	_ = conn.SetReadDeadline(time.Time{})
	_, _ = conn.Read(make([]byte, 1))
}

// attendance keeps the connections to the peers that are watched.
type attendance struct {
	ctx      context.Context
	dial     dialFunc
	onChange func()

	mu    sync.Mutex
	stops map[netip.AddrPort]context.CancelFunc
	ended map[netip.AddrPort]bool
}

// dialFunc connects by TCP.
type dialFunc func(ctx context.Context, addr string, timeout time.Duration) (net.Conn, error)

func newAttendance(ctx context.Context, dial dialFunc, onChange func()) *attendance {
	return &attendance{
		ctx: ctx, dial: dial, onChange: onChange, stops: map[netip.AddrPort]context.CancelFunc{}, ended: map[netip.AddrPort]bool{},
	}
}

// set replaces the peers to attend to.
func (a *attendance) set(peers map[netip.AddrPort]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for addr, stop := range a.stops {
		if !peers[addr] {
			stop()
			delete(a.stops, addr)
			delete(a.ended, addr)
		}
	}
	for addr := range peers {
		if a.stops[addr] == nil {
			ctx, stop := context.WithCancel(a.ctx)
			a.stops[addr] = stop
			go a.attend(ctx, addr)
		}
	}
}

// isEnded reports whether the kernel of a peer refused a connection after it had accepted others.
func (a *attendance) isEnded(addr netip.AddrPort) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended[addr]
}

// note notes what is known of a peer that is still attended to.
func (a *attendance) note(ctx context.Context, addr netip.AddrPort, ended bool) {
	a.mu.Lock()
	news := ctx.Err() == nil && a.ended[addr] != ended
	if news {
		a.ended[addr] = ended
	}
	a.mu.Unlock()
	if news {
		a.onChange()
	}
}

// attend keeps one connection until ctx is done.
func (a *attendance) attend(ctx context.Context, addr netip.AddrPort) {
	met, wait := false, redialSoon
	for ctx.Err() == nil {
		err := a.stay(ctx, addr, func() { met, wait = true, redialSoon; a.note(ctx, addr, false) })
		if err == nil {
			continue // it was connected: look at once whether it can be again
		}
		if met && errors.Is(err, syscall.ECONNREFUSED) {
			a.note(ctx, addr, true)
			wait = redialSoon
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			wait = min(2*wait, redialLater)
		}
	}
}

// stay connects, calls met when the peer has answered, and returns nil when the connection has ended then.
func (a *attendance) stay(ctx context.Context, addr netip.AddrPort, met func()) error {
	conn, err := a.dial(ctx, addr.String(), redialLater)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(helloWait))
	if _, err := conn.Write([]byte{presenceHello}); err != nil {
		return err
	}
	var reply [1]byte
	if _, err := io.ReadFull(conn, reply[:]); err != nil {
		return err
	}
	if reply[0] != presenceReply {
		return errors.New("peer did not answer as a speaker does")
	}
	met()
	waitForEnd(conn)
	return nil
}
