package responder

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
)

// Interface is the network interface that a [Responder] answers on. The MAC is part of its identity: after a change, and
// when the link was down, close the Responder and open another.
type Interface struct {
	// Index is the kernel's number of the interface.
	Index int
	// Name is for messages.
	Name string
	// MAC is what askers are told.
	MAC [6]byte
}

// Config configures a [Responder].
type Config struct {
	// Interface is where to answer.
	Interface Interface
	// Logger receives failures of sockets; never anything per frame.
	Logger *slog.Logger
	// Stats takes the counts that belong to no address; nil if nobody wants them.
	Stats *Stats
	// OnState is called when a socket failed or works again; it may be nil. [Responder.Err] tells which, but OnState itself
	// must neither wait nor call the Responder: its Close may be waiting for OnState to return.
	OnState func()
	// OnSighting is called when somebody else says that it has one of the addresses; it may be nil. It is called by the
	// goroutine that answers, for each such frame that a host of the LAN cares to send, so it must neither wait nor call
	// the Responder, and should do little.
	OnSighting func(Sighting)
	// Alive is asked right before an answer or an announcement is sent, which is dropped if it returns false; nil for one that
	// always returns true. It is for an owner that may stand still and be replaced, while questions wait in the socket. It is
	// called for each such frame, so it should do little.
	Alive func() bool

	open opener // nil but in tests
}

// Responder answers for a set of addresses on one interface. Its methods may be called from any goroutine.
type Responder struct {
	cfg   Config
	nonce [6]byte // of its probes

	mu     sync.Mutex
	set    map[netip.Addr]Entry
	state  *snapshot // of set
	arp    *lane
	ndp    *lane // nil while there is no IPv6 address
	closed bool
}

// Open returns a Responder that holds no address. It never fails: if the socket doesn't open, [Responder.Err] says why,
// and the Responder keeps trying until it is closed.
func Open(cfg Config) *Responder {
	if cfg.Stats == nil {
		cfg.Stats = new(Stats)
	}
	if cfg.OnState == nil {
		cfg.OnState = func() {}
	}
	if cfg.OnSighting == nil {
		cfg.OnSighting = func(Sighting) {}
	}
	if cfg.Alive == nil {
		cfg.Alive = func() bool { return true }
	}
	if cfg.open == nil {
		cfg.open = openPacket
	}
	r := &Responder{cfg: cfg}
	_, _ = rand.Read(r.nonce[:]) // never fails
	r.state = newSnapshot(cfg.Interface.MAC, r.nonce, nil)
	r.arp = newLane(protocolARP, cfg, r.state)
	return r
}

// Set replaces the addresses. When it returns, those that are held no more are not answered any more, and the new ones
// are, provided that the sockets work. Setting what is set already does nothing.
func (r *Responder) Set(addrs map[netip.Addr]Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || maps.Equal(addrs, r.set) {
		return
	}
	r.set = maps.Clone(addrs)
	r.state = newSnapshot(r.cfg.Interface.MAC, r.nonce, addrs)
	r.arp.set(r.state)
	switch {
	case len(r.state.v6) == 0 && r.ndp != nil:
		r.ndp.close()
		r.ndp = nil
	case len(r.state.v6) > 0 && r.ndp == nil:
		r.ndp = newLane(protocolNDP, r.cfg, r.state)
	case r.ndp != nil:
		r.ndp.set(r.state)
	}
}

// Announce tells the LAN that addr is at this interface: by a gratuitous ARP request and reply, or by an unsolicited
// neighbour advertisement. It returns the number of frames sent, none if addr is not held or Config.Alive says no.
func (r *Responder) Announce(addr netip.Addr) (int, error) {
	if !r.cfg.Alive() {
		return 0, nil
	}
	return r.send(addr, false)
}

// Probe asks the LAN whether anyone has addr: by one ARP probe (RFC 5227 section 2.1.1) or one solicitation of duplicate
// address detection (RFC 4862 section 5.4.2). Who has it claims it, which makes a [Sighting]. It returns the number of
// frames sent, none if addr is not tentative.
func (r *Responder) Probe(addr netip.Addr) (int, error) { return r.send(addr, true) }

// send announces addr if it is held, or probes for it if it is tentative.
func (r *Responder) send(addr netip.Addr, tentative bool) (int, error) {
	addr = addr.Unmap()
	r.mu.Lock()
	defer r.mu.Unlock()
	entry, ok := r.state.entry(addr)
	if r.closed || !ok || entry.Tentative != tentative {
		return 0, nil
	}
	l := r.arp
	if addr.Is6() {
		l = r.ndp
	}
	send := l.announceAddr
	if tentative {
		send = l.probeAddr
	}
	n, err := send(addr, entry)
	if err != nil {
		return n, fmt.Errorf("interface %s: %w", r.cfg.Interface.Name, err)
	}
	return n, nil
}

// Err returns why the Responder is not answering, nil if it is.
func (r *Responder) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errors.New("responder is closed")
	}
	if err := r.arp.failure(); err != nil || r.ndp == nil {
		return err
	}
	return r.ndp.failure()
}

// Close stops answering. When it returns, nothing more is sent.
func (r *Responder) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.arp.close()
	if r.ndp != nil {
		r.ndp.close()
	}
}
