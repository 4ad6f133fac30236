package controller

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
)

// planned is a random cluster whose configuration changes, and what explain.Predict says of the change.
type planned struct {
	*harness
	rng *rand.Rand
}

// TestPlanPredicts changes the configuration of random clusters, and wants the Services to end as predicted.
func TestPlanPredicts(t *testing.T) {
	fates := map[explain.Fate]int{}
	for seed := range uint64(25) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			p := &planned{harness: newHarness(t), rng: rand.New(rand.NewPCG(seed, 1))}
			for _, ns := range []string{"default", "web"} {
				must(t, p.namespaces.GetStore().Add(&corev1.Namespace{
					ObjectMeta: metav1.ObjectMeta{Name: ns, Labels: map[string]string{"team": ns}},
				}))
			}
			now := p.drawConfig()
			p.start(config.Text(now.Pools))
			for i := range 8 + p.rng.IntN(8) {
				p.add(p.drawService(fmt.Sprint("s", i)))
			}
			for range 6 {
				next := p.drawConfig()
				want := p.predict(now, next)
				p.change(next)
				if diff := cmp.Diff(p.lines(want, fates), p.lines(p.outcomes(), nil)); diff != "" {
					t.Fatalf("Services as predicted, and as they are (-want +got):\n%s\nfrom\n%s\nto\n%s",
						diff, config.Text(now.Pools), config.Text(next.Pools))
				}
				now = next
				p.edit()
			}
		})
	}
	for _, f := range []explain.Fate{explain.Keeps, explain.Gets, explain.Moves, explain.Waits, explain.Stranded} {
		if fates[f] < 20 {
			t.Errorf("%d Services of fate %q: the test draws too little", fates[f], f)
		}
	}
}

// drawConfig returns pools over few addresses, so that many Services want the same.
func (p *planned) drawConfig() *config.Config {
	var b strings.Builder
	b.WriteString("address-pools:\n")
	for i, free := range p.rng.Perm(4)[:1+p.rng.IntN(4)] {
		fmt.Fprintf(&b, "- name: pool%d\n  protocol: layer2\n  addresses: [10.0.%d.0-10.0.%d.%d", p.rng.IntN(2)*10+i, free, free, p.rng.IntN(4))
		if p.rng.IntN(2) == 0 {
			fmt.Fprintf(&b, ", fd00:%d::-fd00:%d::%d", free, free, p.rng.IntN(3))
		}
		b.WriteString("]\n")
		for _, line := range []string{
			"auto-assign: false", "priority: 1", "namespaces: [web]", "namespace-selectors: [{match-labels: {team: default}}]",
			"service-selectors: [{match-labels: {app: a}}]", "avoid-buggy-ips: true",
		} {
			if p.rng.IntN(6) == 0 {
				b.WriteString("  " + line + "\n")
			}
		}
	}
	cfg, err := config.Parse(b.String())
	if err != nil {
		return p.drawConfig() // avoid-buggy-ips has left nothing
	}
	return cfg
}

// drawService returns a Service with random wishes. Many are made at the same time.
func (p *planned) drawService(name string) *corev1.Service {
	s := service(name, younger(time.Duration(p.rng.IntN(5))*time.Second))
	s.Labels = map[string]string{"app": string(rune('a' + p.rng.IntN(2)))}
	switch p.rng.IntN(4) {
	case 0:
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
		policy := corev1.IPFamilyPolicyPreferDualStack
		if p.rng.IntN(2) == 0 {
			policy = corev1.IPFamilyPolicyRequireDualStack
		}
		s.Spec.IPFamilyPolicy = &policy
	case 1:
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
	}
	if p.rng.IntN(3) == 0 {
		annotated("metallb.io/allow-shared-ip", "key")(s)
		s.Spec.Ports[0].Port = int32(80 + p.rng.IntN(3))
	}
	p.drawWishes(s)
	return s
}

// drawWishes annotates a Service with what it wants of addresses.
func (p *planned) drawWishes(s *corev1.Service) {
	s.Annotations = map[string]string{
		"metallb.io/allow-shared-ip": s.Annotations["metallb.io/allow-shared-ip"],
		kube.AnnotationAllocatedFrom: s.Annotations[kube.AnnotationAllocatedFrom],
	}
	switch p.rng.IntN(8) {
	case 0:
		annotated("metallb.io/loadBalancerIPs", fmt.Sprintf("10.0.%d.%d", p.rng.IntN(4), p.rng.IntN(4)))(s)
	case 1:
		annotated("metallb.io/address-pool", fmt.Sprint("pool", p.rng.IntN(4)))(s)
	case 2:
		annotated(kube.AnnotationReallocate, "true")(s)
	case 3:
		annotated("metallb.io/loadBalancerIPs", "nonsense")(s)
	}
}

// change puts a configuration in force while events of some Services stand in the queue, those of the youngest first.
func (p *planned) change(next *config.Config) {
	p.storeConfig(config.Text(next.Pools))
	p.queue.Add(configKey)
	services := kube.List[corev1.Service](p.services)
	slices.SortFunc(services, func(a, b *corev1.Service) int { return olderFirst(b, a) })
	for _, s := range services {
		if p.rng.IntN(3) == 0 {
			p.queue.Add(cache.MetaObjectToName(s))
		}
	}
	p.work()
}

// edit changes the wishes of one Service.
func (p *planned) edit() {
	list, err := p.client.CoreV1().Services("").List(p.t.Context(), metav1.ListOptions{})
	must(p.t, err)
	s := &list.Items[p.rng.IntN(len(list.Items))]
	p.drawWishes(s)
	p.put(s)
}

// predict asks for the plan as the user's tool does: of what the API server has.
func (p *planned) predict(now, next *config.Config) []explain.Outcome {
	p.t.Helper()
	list, err := p.client.CoreV1().Services("").List(p.t.Context(), metav1.ListOptions{})
	must(p.t, err)
	var services []explain.Applicant
	for i := range list.Items {
		services = append(services, *p.applicant(kube.ServiceOf(&list.Items[i]), &list.Items[i]))
	}
	plan, err := explain.Predict(now, next, services)
	must(p.t, err)
	return plan.Services
}

// outcomes returns what the API server shows.
func (p *planned) outcomes() []explain.Outcome {
	p.t.Helper()
	list, err := p.client.CoreV1().Services("").List(p.t.Context(), metav1.ListOptions{})
	must(p.t, err)
	var out []explain.Outcome
	for i := range list.Items {
		svc := kube.ServiceOf(&list.Items[i])
		cond := meta.FindStatusCondition(list.Items[i].Status.Conditions, kube.ConditionAllocated)
		if cond == nil {
			p.t.Fatalf("%s is told nothing", svc.Name)
		}
		out = append(out, explain.Outcome{Service: svc.Name.String(), After: svc.Ingress, Reason: cond.Reason, Message: cond.Message})
	}
	return out
}

// lines returns what can be compared of outcomes, and counts the fates.
func (p *planned) lines(outcomes []explain.Outcome, fates map[explain.Fate]int) []string {
	var lines []string
	for _, o := range outcomes {
		line := fmt.Sprintf("%s %v %s", o.Service, o.After, o.Reason)
		switch o.Reason {
		case explain.ReasonRefused, explain.ReasonOneFamily: // the controller counts at another moment
		default:
			line += ": " + o.Message
		}
		lines = append(lines, line)
		if fates != nil {
			fates[o.Fate]++
			p.checkFate(o)
		}
	}
	slices.Sort(lines)
	return lines
}

// checkFate wants the fate to say what the addresses do.
func (p *planned) checkFate(o explain.Outcome) {
	p.t.Helper()
	sorted := func(addrs []netip.Addr) []netip.Addr {
		return slices.SortedFunc(slices.Values(addrs), netip.Addr.Compare)
	}
	ok := false
	switch same := slices.Equal(sorted(o.Before), sorted(o.After)); o.Fate {
	case explain.Keeps:
		ok = same && len(o.After) > 0
	case explain.Gets:
		ok = len(o.Before) == 0 && len(o.After) > 0
	case explain.Moves:
		ok = len(o.Before) > 0 && len(o.After) > 0 && !same
	case explain.Waits:
		ok = len(o.After) == 0
	case explain.Stranded:
		ok = len(o.Stranded) > 0
	}
	if !ok {
		p.t.Errorf("fate of %+v", o)
	}
}
