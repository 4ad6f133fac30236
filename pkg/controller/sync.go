package controller

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
)

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
	delete(t.stranded, k)
	delete(t.sent, k)
	t.pace.done(k)
	if !held && !t.waiting.Has(k) {
		t.mayServe(t.alloc.Release(k.String()))
		return nil
	}
	return t.clear(k)
}

// decide asks the Allocator and notes whether the Service waits.
func (t *term) decide(svc kube.Service, obj *corev1.Service) explain.Decision {
	a := t.applicant(svc, obj)
	if !t.stale(obj) {
		t.adopt(a) // it may have come with an address, from a backup for example
	}
	var v explain.Decision
	if t.frozen != nil && a.Invalid == nil {
		v = t.freeze(a)
	} else {
		v = t.allocate(a, svc.Name)
	}
	if v.Waits() {
		t.waiting.Insert(svc.Name)
	} else {
		t.waiting.Delete(svc.Name)
	}
	return v
}

// freeze leaves the Service what it has while there is no configuration to go by.
func (t *term) freeze(a *explain.Applicant) explain.Decision {
	held, ok := t.alloc.Held(a.Service)
	if !ok {
		return explain.Decision{Reason: explain.ReasonNoConfig, Message: t.frozen.Error()}
	}
	return explain.Decision{
		Addrs: held.Addrs, Pools: held.Pools, Content: true, Reason: explain.ReasonAllocated, Message: "kept: " + t.frozen.Error(),
	}
}

func (t *term) allocate(a *explain.Applicant, k key) explain.Decision {
	v, freed := a.Decide(t.alloc)
	t.mayServe(freed)
	delete(t.stranded, k)
	if n := len(v.Stranded); n > 0 {
		t.stranded[k] = n
	}
	return v
}

// applicant copies what the decision needs to know of the Service.
func (t *term) applicant(svc kube.Service, obj *corev1.Service) *explain.Applicant {
	var labels map[string]string
	if ns := kube.Get[corev1.Namespace](t.namespaces, cache.ObjectName{Name: svc.Name.Namespace}); ns != nil {
		labels = ns.Labels
	}
	return &explain.Applicant{
		Request: svc.Request(labels), Invalid: svc.AddrsErr, Shown: svc.Ingress, Created: obj.CreationTimestamp.Time,
	}
}
