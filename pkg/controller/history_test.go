package controller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8stesting "k8s.io/client-go/testing"

	"github.com/invar-lb/invar/pkg/kube"
)

// history is one random life of a cluster: users, other controllers, a failing API server and restarts. The allocator's
// own property test has every sharing and family rule; this one is about what the API server shows in the end.
type history struct {
	*harness
	rng     *rand.Rand
	failing int               // status writes that will fail
	free    map[string]bool   // Services whose address may change in this step
	shown   map[string]string // Service -> address at the last look
	pool    []string          // addresses of the configuration in force
}

// pools are the configurations that histories change between, with their addresses.
var pools = []struct {
	text  string
	addrs []string
}{
	{pool, addrRange("192.168.1.160", 2)},
	{bigger, addrRange("192.168.1.160", 10)},
	{elsewhere, addrRange("10.0.0.0", 2)},
}

func addrRange(first string, n int) []string {
	var out []string
	for a := netip.MustParseAddr(first); len(out) < n; a = a.Next() {
		out = append(out, a.String())
	}
	return out
}

func TestHistories(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			h := &history{harness: newHarness(t), rng: rand.New(rand.NewPCG(seed, 0)), shown: map[string]string{}, pool: pools[0].addrs}
			h.retry = true
			h.client.PrependReactor("patch", "services", func(k8stesting.Action) (bool, runtime.Object, error) {
				h.failing--
				return h.failing >= 0, nil, errors.New("the object has been modified")
			})
			h.start(pools[0].text)
			for range 60 {
				h.free = map[string]bool{}
				what := h.step()
				h.check(what)
			}
		})
	}
}

// step does one random thing and returns what.
func (h *history) step() string {
	name := string(rune('a' + h.rng.IntN(6)))
	if h.rng.IntN(4) == 0 {
		h.failing = h.rng.IntN(3)
	}
	_, err := h.client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("services"), "default", name)
	exists := err == nil && h.get(name).Spec.Type == corev1.ServiceTypeLoadBalancer
	switch op := h.rng.IntN(10); {
	case op == 0:
		i := h.rng.IntN(len(pools))
		h.pool = pools[i].addrs
		h.configure(pools[i].text)
		return "configure " + h.pool[0]
	case op == 1:
		h.configure(broken)
		return "break the configuration"
	case op == 2:
		h.restart()
		return "restart"
	case err != nil:
		h.free[name] = true
		h.add(service(name, younger(time.Duration(h.rng.IntN(100))*time.Second)))
		return "create " + name
	case !exists || op == 3:
		h.free[name] = true
		h.delete(name)
		return "delete " + name
	case op == 4:
		h.free[name] = true
		h.leaveType(name)
		return "change the type of " + name
	case op <= 6:
		return h.edit(name)
	default:
		return h.vandalise(name)
	}
}

// restart makes a new controller, which knows only what the API server has.
func (h *history) restart() {
	text := ""
	if cm := h.source.Object(); cm != nil {
		text = cm.Data["config"]
	}
	if text == broken { // and so nothing is in force after a restart
		text = pools[0].text
		h.pool = pools[0].addrs
	}
	h.boot()
	h.harness.start(text)
}

// edit changes what a Service asks for.
func (h *history) edit(name string) string {
	s := h.get(name)
	delete(s.Annotations, "metallb.io/loadBalancerIPs")
	delete(s.Annotations, kube.AnnotationReallocate)
	switch h.rng.IntN(3) {
	case 0:
		want := h.pool[h.rng.IntN(len(h.pool))]
		annotated("metallb.io/loadBalancerIPs", want)(s)
		h.free[name] = true
	case 1:
		annotated("metallb.io/loadBalancerIPs", "203.0.113.1")(s) // in no pool: what it has stays
	case 2:
		annotated(kube.AnnotationReallocate, "true")(s)
		h.free[name] = true
	}
	h.put(s)
	return fmt.Sprintf("edit %s: %v", name, s.Annotations)
}

// vandalise changes a Service's status behind the controller's back.
func (h *history) vandalise(name string) string {
	s := h.get(name)
	s.Status = corev1.ServiceStatus{}
	if h.rng.IntN(2) == 0 {
		shows(h.pool[h.rng.IntN(len(h.pool))])(s)
		// A Service without an address may keep one that somebody wrote into its status, if it is nobody else's.
		h.free[name] = h.shown[name] == ""
	}
	h.put(s)
	return "vandalise " + name
}

// check looks at what the API server shows once all is quiet.
func (h *history) check(what string) {
	h.t.Helper()
	list, err := h.client.CoreV1().Services("").List(h.t.Context(), metav1.ListOptions{})
	must(h.t, err)
	now, owner := map[string]string{}, map[string]string{}
	var waiting []string
	for i := range list.Items {
		s := &list.Items[i]
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			if len(s.Status.LoadBalancer.Ingress) > 0 {
				h.t.Fatalf("%s: %s left the type and shows %v", what, s.Name, s.Status.LoadBalancer.Ingress)
			}
			continue
		}
		h.checkService(what, s)
		if len(s.Status.LoadBalancer.Ingress) == 0 {
			waiting = append(waiting, s.Name)
			continue
		}
		addr := s.Status.LoadBalancer.Ingress[0].IP
		if other := owner[addr]; other != "" {
			h.t.Fatalf("%s: %s is both %s's and %s's", what, addr, other, s.Name)
		}
		owner[addr], now[s.Name] = s.Name, addr
		if s.Annotations[kube.AnnotationReallocate] != "" || s.Annotations["metallb.io/loadBalancerIPs"] == addr {
			h.free[s.Name] = true // its user has asked for this, now or earlier
		}
	}
	for name, addr := range h.shown {
		if now[name] != addr && !h.free[name] {
			h.t.Fatalf("%s: %s had %s and has %q now, without a cause", what, name, addr, now[name])
		}
	}
	h.shown = now
	h.checkWaiting(what, waiting, owner)
}

// checkService wants the condition to say what the status shows.
func (h *history) checkService(what string, s *corev1.Service) {
	h.t.Helper()
	cond := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionAllocated)
	if cond == nil || cond.Message == "" {
		h.t.Fatalf("%s: %s is told nothing: %+v", what, s.Name, cond)
	}
	if cond.Status == metav1.ConditionTrue && len(s.Status.LoadBalancer.Ingress) != 1 {
		h.t.Fatalf("%s: %s is told %q and shows %v", what, s.Name, cond.Message, s.Status.LoadBalancer.Ingress)
	}
}

// checkWaiting wants no Service to wait that could have an address: one that asks for nothing special while an address of
// the pool is free.
func (h *history) checkWaiting(what string, waiting []string, owner map[string]string) {
	h.t.Helper()
	free := slices.ContainsFunc(h.pool, func(a string) bool { return owner[a] == "" })
	for _, name := range waiting {
		if s := h.get(name); free && s.Annotations["metallb.io/loadBalancerIPs"] == "" {
			h.t.Fatalf("%s: %s waits (%+v) though an address of %v is free of %v", what, name, s.Status.Conditions, h.pool, owner)
		}
	}
}
