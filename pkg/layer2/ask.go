package layer2

import (
	"fmt"
	"net/netip"
	"slices"
)

// maxBystanders is how many hosts [Announcer.Bystanders] returns of one interface at most.
const maxBystanders = 8

// caller is what an Announcer needs of a [responder.Caller].
type caller interface {
	Ask(addr, own netip.Addr) error
	Collect(answered func(netip.Addr))
	Close()
}

// Ask asks a host for its own address, through the interface in whose subnet that lies, and which is its zone if it has one.
// [Announcer.Collect] tells of the answer. It returns an error if there is no such interface or it is without a link.
func (a *Announcer) Ask(addr netip.Addr) error {
	addr, zone := addr.Unmap().WithZone(""), addr.Zone()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, i := range a.snapshot.Interfaces() {
		l := a.links[i.Index]
		if l == nil || zone != "" && zone != i.Name {
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

// Bystanders returns hosts that this node's kernel has talked to on the interfaces with a link, a few of each, and that are neither
// this node nor peers. Link-local addresses have the interface as their zone.
func (a *Announcer) Bystanders() []netip.Addr {
	a.mu.Lock()
	names := make(map[int]string, len(a.links))
	for index, l := range a.links {
		names[index] = l.Name
	}
	own, peers := a.guard.own, a.guard.peers // replaced and never changed
	a.mu.Unlock()
	var hosts []netip.Addr
	for index, name := range names {
		neighbours, err := a.neighbours(index)
		if err != nil {
			a.cfg.Logger.Debug("the hosts on an interface are not known", "interface", name, "error", err)
		}
		found := 0
		for _, n := range neighbours {
			if _, peer := peers[n.MAC]; peer || own[n.MAC] || found == maxBystanders {
				continue
			}
			found++
			if n.Addr.IsLinkLocalUnicast() && n.Addr.Is6() {
				n.Addr = n.Addr.WithZone(name)
			}
			hosts = append(hosts, n.Addr)
		}
	}
	slices.SortFunc(hosts, netip.Addr.Compare)
	return slices.Compact(hosts)
}

// Asked reports whether a host has asked for one of addrs since it is desired.
func (a *Announcer) Asked(addrs []netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(addrs, func(addr netip.Addr) bool {
		c := a.counters[addr.Unmap()]
		return c != nil && c.Requests.Load() > 0
	})
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
