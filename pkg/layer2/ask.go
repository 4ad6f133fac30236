package layer2

import (
	"fmt"
	"net/netip"
)

// caller is what an Announcer needs of a [responder.Caller].
type caller interface {
	Ask(addr, own netip.Addr) error
	Collect(answered func(netip.Addr))
	Close()
}

// Ask asks a host for its own address, through the interface in whose subnet that lies. [Announcer.Collect] tells of the
// answer. It returns an error if there is no such interface or it is without a link.
func (a *Announcer) Ask(addr netip.Addr) error {
	addr = addr.Unmap()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, i := range a.snapshot.Interfaces() {
		l := a.links[i.Index]
		if l == nil {
			continue
		}
		for _, p := range i.Prefixes {
			if p.Contains(addr) && p.Addr() != addr {
				return l.caller.Ask(addr, p.Addr())
			}
		}
	}
	return fmt.Errorf("ask for %s: it lies in the subnet of no interface that has a link", addr)
}

// Collect calls answered for each answer that has come since the last call, with the host that it came from. answered must not call the
// Announcer.
func (a *Announcer) Collect(answered func(netip.Addr)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.links {
		l.caller.Collect(answered)
	}
}
