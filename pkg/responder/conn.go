package responder

import (
	"net/netip"

	"golang.org/x/net/bpf"
)

// conn is a packet socket on one interface for one protocol.
type conn interface {
	// read waits for a frame. Only one goroutine reads.
	read(b []byte) (int, error)
	// answer sends a frame without waiting. Only the goroutine that reads calls it.
	answer(frame []byte) error
	// send is answer for all other goroutines.
	send(frame []byte) error
	// tellKernel tells this node's own kernel what a frame sent by send announces. What is no neighbour advertisement it need not
	// know.
	tellKernel(frame []byte) error
	// setFilter replaces the kernel filter in one step.
	setFilter(filter []bpf.RawInstruction) error
	// join makes the interface receive an IPv6 multicast group and tells routers and switches so.
	join(group netip.Addr) error
	// leave undoes join.
	leave(group netip.Addr) error
	// interrupt lets a read that waits, and all that follow, return an error.
	interrupt()
	close()
}

// opener opens a conn whose filter is in force before the first frame arrives.
type opener func(ifi Interface, etherType uint16, filter []bpf.RawInstruction) (conn, error)
