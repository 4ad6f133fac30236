// Package ipam decides which Service holds which address.
//
// It is pure: no Kubernetes, no clock, no goroutine, no log. The caller copies what matters of a Service into a
// [Request] and owns the [Allocator]; an Allocator must not be used from two goroutines at once.
//
// # The caller's loop
//
// After a start, the caller hands over the pools and adopts what every Service's status says, and only then allocates:
//
//	a := ipam.New()
//	err := a.SetPools(pools)              // a new configuration: the same call again
//	err = a.Adopt(request, statusAddrs)   // once for each Service that has an address
//
// and from then on, for each Service that changed or waits:
//
//	alloc, err := a.Allocate(request)     // what the status must show, also when err is a *Refusal
//	... write alloc.Addrs into the status ...
//	freed := a.Confirm(service, alloc.Addrs)
//
// A Service that moves keeps its former address reserved until [Allocator.Confirm] tells that its status no longer
// shows it. Otherwise a status write that fails would leave the old address in one status while another Service got
// it. A Service that goes away, or that stops being of type LoadBalancer, is released with [Allocator.Release]; if
// its status showed addresses, that status is cleared first for the same reason.
//
// Whenever Release or Confirm return true, or an Allocation says Freed, Services that were refused are worth another
// try.
//
// # What is never lost
//
// An address leaves a Service for these causes only: the Service is released; its user asks for another address,
// another pool or fewer families and that can be met; [Request.Reallocate] is set and no pool would let it hold the
// address today; or the Service edited its ports, sharing key or back ends so that it may no longer share the address
// with the others on it. A change of pools, a restart, another Service, and a request that can't be met take nothing
// away. Addresses outside every pool stay held, see [Allocator.Stranded].
//
// In the last case the Service that changed gives way, moves if there is somewhere to go, and otherwise waits without
// an address: two Services in an illegal share would break both. Those that didn't change stay.
//
// # Which address
//
// Pools are tried by priority (lower first, 0 means last), then pools restricted by namespace or labels before pools
// for everyone, then in the order given. Inside a pool: ranges in the order given, in a range the lowest free
// address. A Service with a sharing key gets the lowest address that is free or that it may share, whichever is
// lower; this is MetalLB's order, in which sharing saves addresses at the low end and never jumps past a free one.
// A Service of two families gets both from the first pool that has both, else each from the first pool that has it.
//
// # Cost
//
// Each range keeps the set of its used addresses as a tree of 64-bit bitmaps in which every level knows what is full
// below it; finding the lowest free address goes down once, whatever is in use: three steps for a /16, eleven for an
// IPv6 /64. Sharing looks up sets of the same kind, kept by sharing key and port. Memory follows the addresses in
// use, not the size of the range. [Allocator.SetPools] costs time in proportion to the addresses in use.
package ipam
