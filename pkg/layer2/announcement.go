package layer2

import (
	"net/netip"

	"github.com/invar-lb/invar/pkg/netif"
)

// Announcement says how this node announces one address.
type Announcement struct {
	// Interfaces are the names of the interfaces that may carry the address. If empty, the interface in whose subnet the
	// address lies carries it, or, if there is none, all eligible ones: see [netif.Snapshot.Carriers].
	Interfaces []string `json:"interfaces,omitempty"`
	// Quiet keeps the address from being announced; who asks for it is answered.
	Quiet bool `json:"quiet,omitempty"`
	// Tentative says that the address is not this node's yet: it is probed for and watched, and neither answered nor
	// announced. See [Announcer.Free].
	Tentative bool `json:"tentative,omitempty"`
}

// State is what an [Announcer] knows and does, for people to read.
type State struct {
	// Interfaces are all interfaces of the node, sorted by index.
	Interfaces []InterfaceState `json:"interfaces"`
	// Addresses are the desired ones, sorted.
	Addresses []AddressState `json:"addresses"`
	// Conflicts are the addresses that foreign hosts have too, sorted.
	Conflicts []Conflict `json:"conflicts,omitempty"`
}

// InterfaceState is one interface with its responder.
type InterfaceState struct {
	netif.Interface
	// Error says why an eligible interface does not answer: its sockets don't open, say.
	Error string `json:"error,omitempty"`
}

// AddressState is one desired address.
type AddressState struct {
	// Address is the desired address.
	Address netip.Addr `json:"address"`
	// Interfaces are the names of the interfaces that answer for it, or watch it if it is tentative.
	Interfaces []string `json:"interfaces,omitempty"`
	// Tentative repeats [Announcement.Tentative]; Free is [Announcer.Free].
	Tentative bool `json:"tentative,omitempty"`
	Free      bool `json:"free,omitempty"`
	// Quiet repeats [Announcement.Quiet].
	Quiet bool `json:"quiet,omitempty"`
	// Reason says why no interface does.
	Reason string `json:"reason,omitempty"`
	// Requests, Answers and Announcements count the frames since the address became desired.
	Requests      uint64 `json:"requests"`
	Answers       uint64 `json:"answers"`
	Announcements uint64 `json:"announcements"`
}
