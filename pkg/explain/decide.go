package explain

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/invar-lb/invar/pkg/ipam"
)

// The reasons of condition invar.io/AddressAllocated.
const (
	ReasonAllocated      = "Allocated"      // the Service has what it asks for
	ReasonStranded       = "Stranded"       // it has, but an address lies in no pool any more
	ReasonOneFamily      = "OneFamilyOnly"  // it prefers two families and has one
	ReasonRefused        = "Refused"        // no pool gives what it asks for
	ReasonInvalidRequest = "InvalidRequest" // what it asks for can't be understood
	ReasonNoConfig       = "NoConfig"       // there is no configuration
)

// An Applicant is a Service that asks for addresses.
type Applicant struct {
	ipam.Request
	Invalid error        // why its request can't be understood, or nil
	Shown   []netip.Addr // the addresses in its status
	Created time.Time    // metadata.creationTimestamp
}

// A Decision is what a Service should have and be told.
type Decision struct {
	Addrs    []netip.Addr
	Pools    []string     // of each of Addrs, see ipam.Allocation
	Stranded []netip.Addr // those of Addrs that lie in no pool
	Content  bool         // it has what it asks for
	Reason   string       // of the condition
	Message  string
}

// Waits reports whether the Service is to be looked at again when something comes free.
func (d *Decision) Waits() bool { return !d.Content || d.Reason == ReasonOneFamily }

// ByAge compares Services in the order in which they are served: the oldest first, then by name ("namespace/name").
func ByAge(a string, createdA time.Time, b string, createdB time.Time) int {
	return cmp.Or(createdA.Compare(createdB), strings.Compare(a, b))
}

// Adopt makes alloc know the addresses that the Service shows, unless it holds some already. The error names those that
// another Service holds.
func (a *Applicant) Adopt(alloc *ipam.Allocator) error {
	if _, held := alloc.Held(a.Service); held || len(a.Shown) == 0 {
		return nil
	}
	return alloc.Adopt(a.Request, a.Shown)
}

// Decide gives the Service what it asks for, as far as alloc has it, and reports whether that made something available to others
// that no call of [ipam.Allocator.Confirm] will tell.
func (a *Applicant) Decide(alloc *ipam.Allocator) (d Decision, freed bool) {
	if a.Invalid != nil {
		held, _ := alloc.Held(a.Service)
		return Decision{
			Addrs: held.Addrs, Pools: held.Pools, Stranded: held.Stranded,
			Reason: ReasonInvalidRequest, Message: a.Invalid.Error(),
		}, false
	}
	got, err := alloc.Allocate(a.Request)
	d = Decision{
		Addrs: got.Addrs, Pools: got.Pools, Stranded: got.Stranded,
		Content: err == nil, Reason: ReasonAllocated, Message: origin(got),
	}
	var refusal *ipam.Refusal
	switch {
	case errors.As(err, &refusal):
		d.Reason, d.Message = ReasonRefused, refusal.Error()
		if len(got.Addrs) > 0 {
			d.Message += "; it keeps " + Join(got.Addrs)
		}
	case err != nil:
		d.Reason, d.Message = ReasonInvalidRequest, err.Error()
	case got.Missing != nil:
		d.Reason, d.Message = ReasonOneFamily, d.Message+"; "+got.Missing.Error()
	case len(got.Stranded) > 0:
		d.Reason = ReasonStranded
		d.Message += fmt.Sprintf("; %s lies in no pool any more and stays until the Service asks for another address or is "+
			"annotated invar.io/reallocate: \"true\"", Join(got.Stranded))
	}
	return d, got.Freed
}

// origin says which address came from which pool.
func origin(a ipam.Allocation) string {
	parts := make([]string, len(a.Addrs))
	for i, addr := range a.Addrs {
		parts[i] = addr.String()
		if pool := a.Pools[i]; pool != "" {
			parts[i] += " from pool " + pool
		}
	}
	return strings.Join(parts, ", ")
}

// Join returns addresses with commas between them.
func Join(addrs []netip.Addr) string {
	parts := make([]string, len(addrs))
	for i, a := range addrs {
		parts[i] = a.String()
	}
	return strings.Join(parts, ", ")
}
