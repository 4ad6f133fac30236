package daemon

import (
	"net"
	"net/netip"
	"sync"
)

// maxFromOne is how many connections one address may have open at the HTTP endpoint. A scraper has one or two, a kubelet one for
// each probe; anybody on the LAN may open some, and must not make the daemon spend memory without end.
const maxFromOne = 64

// perHost is a listener that closes what is too many from one address at once.
type perHost struct {
	net.Listener
	mu   sync.Mutex
	open map[netip.Addr]int
}

func newPerHost(l net.Listener) *perHost { return &perHost{Listener: l, open: map[netip.Addr]int{}} }

// Accept implements [net.Listener].
func (l *perHost) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			return conn, nil
		}
		host := from.AddrPort().Addr()
		if l.enter(host) {
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		_ = conn.Close()
	}
}

// enter reports whether there is a place for another connection of host, and takes it.
func (l *perHost) enter(host netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[host] >= maxFromOne {
		return false
	}
	l.open[host]++
	return true
}

// leave gives a place back.
func (l *perHost) leave(host netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[host]--; l.open[host] == 0 {
		delete(l.open, host)
	}
}

// guest is a connection that has a place.
type guest struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (g *guest) Close() error {
	g.leave()
	return g.Conn.Close()
}
