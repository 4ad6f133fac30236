package ipam

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Reason is why a pool or an address was refused.
type Reason uint8

// The reasons. The first group is about the request or a pool, the second about a requested address, the third about
// Services that hold the requested address already.
const (
	_ Reason = iota

	ReasonNoFamilies      // the request wants no family
	ReasonNoPools         // no pool is configured at all
	ReasonUnknownPool     // the requested pool is not configured
	ReasonNotForNamespace // the pool's namespaces and namespace selectors leave the Service out
	ReasonNotForService   // the pool's service selectors leave the Service out
	ReasonNoFamily        // the pool has no address of the family
	ReasonOnRequestOnly   // the pool has auto-assign: false and wasn't requested
	ReasonNotAskedFor     // the Service asks for another pool, or for an address that is not in this one; only from Survey
	ReasonExhausted       // every address is in use, and none may be shared

	ReasonNotInPool       // the address lies in no pool
	ReasonOtherPool       // the address lies in another pool than the requested one
	ReasonAvoided         // the address ends in .0 or .255 and its pool has avoid-buggy-ips
	ReasonFamilyNotWanted // the Service has no such family
	ReasonFamilyTwice     // more than one address of a family is requested

	ReasonNotShared  // the holder or the Service has no sharing key
	ReasonSharingKey // their sharing keys differ
	ReasonBackends   // their back ends differ
	ReasonPort       // they have a port in common
)

// A Conflict says which Service stands in the way on an address, and why.
type Conflict struct {
	Holder string // "namespace/name"
	Reason Reason // ReasonNotShared, ReasonSharingKey, ReasonBackends or ReasonPort
	Port   Port   // the port in common, for ReasonPort
}

// String returns the conflict as a phrase that follows the address.
func (c Conflict) String() string {
	switch c.Reason {
	case ReasonSharingKey:
		return fmt.Sprintf("in use by %s, whose sharing key differs", c.Holder)
	case ReasonBackends:
		return fmt.Sprintf("in use by %s, whose external traffic policy or selector differs", c.Holder)
	case ReasonPort:
		return fmt.Sprintf("port %s is in use by %s", c.Port, c.Holder)
	default:
		return fmt.Sprintf("in use by %s, not shared", c.Holder)
	}
}

// A ConflictError is returned by [Allocator.Adopt] for an address that another Service holds.
type ConflictError struct {
	Service  string
	Addr     netip.Addr
	Conflict Conflict
}

// Error names the Service, the address and who holds it.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("adopt %s for %s: %s", e.Addr, e.Service, e.Conflict)
}

// A PoolRefusal is why one pool, or one requested address, was not given.
type PoolRefusal struct {
	Pool         string     // the pool; "" for ReasonNoFamilies, ReasonNoPools and addresses outside every pool
	Addr         netip.Addr // the requested address, if the reason is about one
	Family       Family     // the wanted family; 0 if the reason doesn't depend on it
	Reason       Reason
	InUse, Total uint64   // addresses of the pool and family, for ReasonExhausted
	OneFamily    bool     // the pool has addresses of one family only, so text needn't name it
	Sharing      bool     // the Service may share, for ReasonExhausted
	Namespace    string   // the Service's, for ReasonNotForNamespace
	Requested    string   // the requested pool, for ReasonOtherPool; or address, for ReasonNotAskedFor
	Conflict     Conflict // for the reasons about holders
}

// String returns for example "pool default: 10 of 10 addresses in use".
func (r PoolRefusal) String() string {
	switch {
	case r.Reason == ReasonNoFamilies:
		return "the Service has no IP family"
	case r.Reason == ReasonNoPools:
		return "no address pool is configured"
	case r.Addr.IsValid():
		return fmt.Sprintf("address %s: %s", r.Addr, r.addrText())
	default:
		return fmt.Sprintf("pool %s: %s", r.Pool, r.poolText())
	}
}

// Why returns the reason without naming the pool or address it is about, for example "10 of 10 addresses in use".
func (r PoolRefusal) Why() string {
	switch {
	case r.Reason == ReasonNoFamilies || r.Reason == ReasonNoPools:
		return r.String()
	case r.Addr.IsValid():
		return r.addrText()
	default:
		return r.poolText()
	}
}

// addrText returns the reason for a requested address.
func (r PoolRefusal) addrText() string {
	switch r.Reason {
	case ReasonNotInPool:
		return "in no pool"
	case ReasonOtherPool:
		return fmt.Sprintf("in pool %s, not in the requested pool %s", r.Pool, r.Requested)
	case ReasonAvoided:
		return fmt.Sprintf("avoided by pool %s (avoid-buggy-ips)", r.Pool)
	case ReasonFamilyNotWanted:
		return fmt.Sprintf("the Service has no %s", r.Family)
	case ReasonFamilyTwice:
		return fmt.Sprintf("a second %s address is requested", r.Family)
	case ReasonNotForNamespace, ReasonNotForService:
		return fmt.Sprintf("pool %s: %s", r.Pool, r.poolText())
	default:
		return r.Conflict.String()
	}
}

// poolText returns the reason for a pool.
func (r PoolRefusal) poolText() string {
	switch r.Reason {
	case ReasonUnknownPool:
		return "not configured"
	case ReasonNotForNamespace:
		return "not for namespace " + r.Namespace
	case ReasonNotForService:
		return "not for a Service with these labels"
	case ReasonNoFamily:
		return fmt.Sprintf("no %s addresses", r.Family)
	case ReasonNotAskedFor:
		return "the Service asks for " + r.Requested
	case ReasonOnRequestOnly:
		return "only on request (auto-assign: false)"
	default:
		return r.exhaustedText()
	}
}

// exhaustedText returns the numbers of a full pool.
func (r PoolRefusal) exhaustedText() string {
	family, share := "", ""
	if !r.OneFamily {
		family = r.Family.String() + " "
	}
	if r.Sharing {
		share = ", none that it may share"
	}
	return fmt.Sprintf("%d of %d %saddresses in use%s", r.InUse, r.Total, family, share)
}

// A Refusal is the error of [Allocator.Allocate]: the request can't be met now, with every pool's reason.
type Refusal struct {
	Service string
	Reasons []PoolRefusal
}

// Error returns the reasons, for example "pool default: 10 of 10 addresses in use; pool edge: not for namespace web".
func (r *Refusal) Error() string {
	texts := make([]string, len(r.Reasons))
	for i, reason := range r.Reasons {
		texts[i] = reason.String()
	}
	return strings.Join(texts, "; ")
}
