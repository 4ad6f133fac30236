package controller

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/ipam"
	"github.com/invar-lb/invar/pkg/kube"
)

// Reasons of the condition kube.ConditionAllocated.
const (
	reasonAllocated      = "Allocated"      // the Service has what it asks for
	reasonStranded       = "Stranded"       // it has, but an address lies in no pool any more
	reasonOneFamily      = "OneFamilyOnly"  // it prefers two families and has one
	reasonRefused        = "Refused"        // no pool gives what it asks for
	reasonInvalidRequest = "InvalidRequest" // what it asks for can't be understood
	reasonNoConfig       = "NoConfig"       // there is no configuration
)

// verdict is what a Service should have and be told.
type verdict struct {
	addrs   []netip.Addr
	pools   []string
	content bool   // it has what it asks for
	reason  string // of the condition
	message string
}

// sync looks at Service k and returns the write that makes its status say what it should, or nil if it does.
func (t *term) sync(k key) write {
	obj := kube.Get[corev1.Service](t.services, k)
	if obj == nil {
		return t.leave(k)
	}
	svc := kube.ServiceOf(obj)
	if !t.serves(obj, svc) {
		return t.leave(k)
	}
	if t.stale(obj) {
		return nil // its event is on the way
	}
	if !svc.IPv4 && !svc.IPv6 {
		return nil // the API server has not given it a cluster IP yet
	}
	v := t.decide(svc, obj)
	return t.show(obj, svc, v)
}

// stale reports whether the cache has not heard yet of this controller's last write to a Service. What it says of the
// status is from the past then: nothing must be concluded from it.
func (t *term) stale(obj *corev1.Service) bool {
	sent, ok := t.sent[cache.MetaObjectToName(obj)]
	if !ok {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(obj.ResourceVersion, sent.version)
	return err == nil && order < 0
}

// leave forgets a Service that is gone or not ours any more. One that left the type may still show its address: that is
// taken off first, and only then may another Service have it.
func (t *term) leave(k key) write {
	_, held := t.alloc.Held(k.String())
	_, waited := t.waiting[k]
	delete(t.stranded, k)
	delete(t.sent, k)
	t.pace.done(k)
	if !held && !waited {
		if t.alloc.Release(k.String()) {
			t.retryWaiting()
		}
		return nil
	}
	return t.clear(k)
}

// decide asks the Allocator and notes whether the Service waits.
func (t *term) decide(svc kube.Service, obj *corev1.Service) verdict {
	k := svc.Name
	held, ok := t.alloc.Held(k.String())
	if !ok && len(svc.Ingress) > 0 {
		t.adopt(svc) // it came with an address, from a backup for example
		held, ok = t.alloc.Held(k.String())
	}
	v := verdict{addrs: held.Addrs, pools: held.Pools}
	switch {
	case svc.AddrsErr != nil:
		v.reason, v.message = reasonInvalidRequest, svc.AddrsErr.Error()
	case t.frozen != nil && !ok:
		v.reason, v.message = reasonNoConfig, t.frozen.Error()
	case t.frozen != nil:
		v.content, v.reason, v.message = true, reasonAllocated, "kept: "+t.frozen.Error()
	default:
		v = t.allocate(svc)
	}
	if v.content && v.reason != reasonOneFamily {
		delete(t.waiting, k)
	} else {
		t.waiting[k] = obj.CreationTimestamp.Time
	}
	return v
}

func (t *term) allocate(svc kube.Service) verdict {
	alloc, err := t.alloc.Allocate(t.request(svc))
	if alloc.Freed {
		t.retryWaiting()
	}
	delete(t.stranded, svc.Name)
	if n := len(alloc.Stranded); n > 0 {
		t.stranded[svc.Name] = n
	}
	v := verdict{addrs: alloc.Addrs, pools: alloc.Pools, content: err == nil, reason: reasonAllocated, message: origin(alloc)}
	var refusal *ipam.Refusal
	switch {
	case errors.As(err, &refusal):
		v.reason, v.message = reasonRefused, refusal.Error()
		if len(alloc.Addrs) > 0 {
			v.message += "; it keeps " + join(alloc.Addrs)
		}
	case err != nil:
		v.reason, v.message = reasonInvalidRequest, err.Error()
	case alloc.Missing != nil:
		v.reason, v.message = reasonOneFamily, v.message+"; "+alloc.Missing.Error()
	case len(alloc.Stranded) > 0:
		v.reason = reasonStranded
		v.message += fmt.Sprintf("; %s lies in no pool any more and stays until the Service asks for another address or is annotated %s: \"true\"",
			join(alloc.Stranded), kube.AnnotationReallocate)
	}
	return v
}

// request copies what allocation needs to know of the Service.
func (t *term) request(svc kube.Service) ipam.Request {
	req := ipam.Request{
		Service:    svc.Name.String(),
		Namespace:  svc.Name.Namespace,
		Labels:     svc.Labels,
		Partial:    svc.Partial,
		Addrs:      svc.Addrs,
		Pool:       svc.Pool,
		Reallocate: svc.Reallocate,
		SharingKey: svc.SharingKey,
		BackendKey: backendKey(svc),
	}
	if ns := kube.Get[corev1.Namespace](t.namespaces, cache.ObjectName{Name: svc.Name.Namespace}); ns != nil {
		req.NamespaceLabels = ns.Labels
	}
	if svc.IPv4 {
		req.Families = append(req.Families, ipam.IPv4)
	}
	if svc.IPv6 {
		req.Families = append(req.Families, ipam.IPv6)
	}
	if svc.IPv6First {
		slices.Reverse(req.Families)
	}
	for _, p := range svc.Ports {
		req.Ports = append(req.Ports, ipam.Port(p))
	}
	if svc.AllocatedFrom != "" {
		req.FromPools = strings.Split(svc.AllocatedFrom, ",")
	}
	return req
}

// backendKey is what the back ends of two Services must have in common for them to share an address. With policy Cluster
// every node serves everything, so anything goes; with Local the address must lead to the same pods.
func backendKey(svc kube.Service) string {
	if !svc.Local {
		return ""
	}
	pairs := []string{"local"} // never equal to a Service of policy Cluster, even without a selector
	for k, v := range svc.Selector {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs[1:])
	return strings.Join(pairs, ",")
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

func join(addrs []netip.Addr) string {
	parts := make([]string, len(addrs))
	for i, a := range addrs {
		parts[i] = a.String()
	}
	return strings.Join(parts, ", ")
}
