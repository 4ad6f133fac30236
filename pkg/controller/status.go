package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
)

// Reasons of the Events on a Service; MetalLB's where it has them.
const (
	eventAllocated = "IPAllocated"
	eventFailed    = "AllocationFailed"
	eventInvalid   = "LoadBalancerFailed"
	eventStranded  = "AddressStranded"
)

// write changes a Service's status on the API server and returns what the Service shows afterwards.
type write func(ctx context.Context) (outcome, error)

// outcome is what a write has made sure of.
type outcome struct {
	what certainty
	shown
}

// shown is what a Service was made to show.
type shown struct {
	addrs   []netip.Addr
	version string // its resourceVersion since then
}

type certainty int

const (
	isUnknown certainty = iota // nothing is known of what the Service shows
	isShown                    // it shows what it should
	isGone                     // it is gone or shows no address of ours
)

// show returns the write that makes the Service's status say v, or nil if it does already.
func (t *term) show(obj *corev1.Service, svc kube.Service, v explain.Decision) write {
	cond, sameCond := settle(obj, condition(v))
	conflict, sameConflict := settle(obj, t.conflict(v.Addrs))
	announced, sameAnnounced := settle(obj, t.announced(obj, v.Addrs))
	sameAddrs := slices.Equal(v.Addrs, svc.Ingress) && len(svc.Ingress) == len(obj.Status.LoadBalancer.Ingress)
	from := allocatedFrom(v)
	if sameAddrs { // and so its former addresses, if it had any, are off its status
		t.mayServe(t.alloc.Confirm(svc.Name.String(), svc.Ingress))
		if sameCond && sameConflict && svc.AllocatedFrom == from && (sameAnnounced || t.postpone(svc.Name, announced)) {
			if sameAnnounced {
				t.pace.done(svc.Name)
			}
			return nil
		}
	}
	t.pace.done(svc.Name)
	conds := []metav1.Condition{cond}
	if !sameConflict {
		conds = append(conds, conflict)
	}
	if !sameAnnounced {
		conds = append(conds, announced)
	}
	patch := statusPatch(obj, v.Addrs, from, conds)
	return func(ctx context.Context) (outcome, error) {
		now, err := t.patch(ctx, obj, patch)
		if err != nil {
			return outcome{}, err
		}
		t.tell(obj, v, sameAddrs, sameCond)
		return outcome{what: isShown, shown: shown{v.Addrs, now.ResourceVersion}}, nil
	}
}

// settle returns c with the time since when its status is what it is, and whether obj shows it already. A condition that
// has never been true need not be shown.
func settle(obj *corev1.Service, c metav1.Condition) (metav1.Condition, bool) {
	old := meta.FindStatusCondition(obj.Status.Conditions, c.Type)
	if old == nil {
		return c, c.Type != kube.ConditionAllocated && c.Status == metav1.ConditionFalse
	}
	if old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	return c, old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message
}

// conflict says whether foreign hosts use addrs.
func (t *term) conflict(addrs []netip.Addr) metav1.Condition {
	c := metav1.Condition{
		Type: kube.ConditionConflict, Status: metav1.ConditionFalse, Reason: "NoConflict", LastTransitionTime: metav1.Now(),
	}
	var words []string
	for _, a := range addrs {
		if text := t.word.conflicts[a]; text != "" {
			words = append(words, text)
		}
	}
	if len(words) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "ForeignHost", strings.Join(words, "; ")
	}
	return c
}

// tell records the Events that go with a change of the Service's status.
func (t *term) tell(obj *corev1.Service, v explain.Decision, sameAddrs, sameCond bool) {
	if !sameAddrs && len(v.Addrs) > 0 {
		quoted := make([]string, len(v.Addrs))
		for i, a := range v.Addrs {
			quoted[i] = fmt.Sprintf("%q", a)
		}
		t.cfg.Recorder.Eventf(obj, corev1.EventTypeNormal, eventAllocated, "Assigned IP [%s]", strings.Join(quoted, " "))
	}
	if sameCond {
		return
	}
	switch v.Reason {
	case explain.ReasonRefused, explain.ReasonNoConfig:
		t.cfg.Recorder.Eventf(obj, corev1.EventTypeWarning, eventFailed,
			"Failed to allocate IP for %q: %s", obj.Namespace+"/"+obj.Name, v.Message)
	case explain.ReasonInvalidRequest:
		t.cfg.Recorder.Eventf(obj, corev1.EventTypeWarning, eventInvalid, "invalid requested loadbalancer IPs: %s", v.Message)
	case explain.ReasonStranded:
		t.cfg.Recorder.Event(obj, corev1.EventTypeWarning, eventStranded, v.Message)
	}
}

func condition(v explain.Decision) metav1.Condition {
	c := metav1.Condition{
		Type: kube.ConditionAllocated, Status: metav1.ConditionFalse, Reason: v.Reason, Message: v.Message,
		LastTransitionTime: metav1.Now(),
	}
	if v.Content {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// allocatedFrom returns the value of kube.AnnotationAllocatedFrom: one pool, or one for each address if they differ.
func allocatedFrom(v explain.Decision) string {
	if len(v.Addrs) == 0 {
		return ""
	}
	if len(slices.Compact(slices.Clone(v.Pools))) == 1 {
		return v.Pools[0]
	}
	return strings.Join(v.Pools, ",")
}

// statusPatch returns a strategic merge patch. It leaves alone what is not ours, the conditions of others for example, and
// holds for no other Service that may have come up under the same name.
func statusPatch(obj *corev1.Service, addrs []netip.Addr, from string, conds []metav1.Condition) []byte {
	ingress := make([]corev1.LoadBalancerIngress, len(addrs))
	for i, a := range addrs {
		ingress[i].IP = a.String()
	}
	annotations := map[string]any{kube.AnnotationAllocatedFrom: nil}
	if from != "" {
		annotations[kube.AnnotationAllocatedFrom] = from
	}
	return marshal(map[string]any{
		"metadata": map[string]any{"uid": obj.UID, "annotations": annotations},
		"status": map[string]any{
			"loadBalancer": map[string]any{"ingress": ingress},
			"conditions":   conds,
		},
	})
}

// clearPatch returns the patch that takes everything of ours off a Service that left the type.
func clearPatch(obj *corev1.Service) []byte {
	return marshal(map[string]any{
		"metadata": map[string]any{"uid": obj.UID, "annotations": map[string]any{kube.AnnotationAllocatedFrom: nil}},
		"status": map[string]any{
			"loadBalancer": map[string]any{"ingress": []corev1.LoadBalancerIngress{}},
			"conditions": []map[string]string{
				{"type": kube.ConditionAllocated, "$patch": "delete"},
				{"type": kube.ConditionConflict, "$patch": "delete"},
				{"type": kube.ConditionAnnounced, "$patch": "delete"},
			},
		},
	})
}

func marshal(patch map[string]any) []byte {
	b, err := json.Marshal(patch)
	if err != nil {
		panic("controller: patch is not JSON: " + err.Error())
	}
	return b
}

func (t *term) patch(ctx context.Context, obj *corev1.Service, patch []byte) (*corev1.Service, error) {
	now, err := t.cfg.Client.Services(obj.Namespace).Patch(ctx, obj.Name,
		types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("patch status: %w", err)
	}
	return now, nil
}

// clear returns the write that takes our marks off Service k, which is gone or not ours any more. Which of the two it is,
// the cache can't tell, since it only knows Services of type LoadBalancer.
func (t *term) clear(k key) write {
	return func(ctx context.Context) (outcome, error) {
		obj, err := t.cfg.Client.Services(k.Namespace).Get(ctx, k.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return outcome{what: isGone}, nil
		}
		if err != nil {
			return outcome{}, fmt.Errorf("get Service that left: %w", err)
		}
		svc := kube.ServiceOf(obj)
		if t.serves(obj, svc) {
			return outcome{}, nil // it came back meanwhile, and so will its event
		}
		if obj.Spec.Type != corev1.ServiceTypeLoadBalancer && marked(obj, svc) {
			if _, err := t.patch(ctx, obj, clearPatch(obj)); err != nil {
				return outcome{}, err
			}
		}
		return outcome{what: isGone}, nil
	}
}

func marked(obj *corev1.Service, svc kube.Service) bool {
	return len(obj.Status.LoadBalancer.Ingress) > 0 || svc.AllocatedFrom != "" ||
		meta.FindStatusCondition(obj.Status.Conditions, kube.ConditionAllocated) != nil
}
