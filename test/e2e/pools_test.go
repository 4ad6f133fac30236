//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

const dual = clustertest.Dual

// pool returns the part of a configuration that is about one layer2 pool; more are further lines of it.
func pool(name, addresses string, more ...string) string {
	lines := append([]string{"- name: " + name, "protocol: layer2", "addresses: [" + addresses + "]"}, more...)
	return strings.Join(lines, "\n  ") + "\n"
}

// pools returns the configuration of these pools.
func pools(pools ...string) string {
	return "address-pools:\n" + strings.Join(pools, "")
}

// TestGainAndLoseFamily takes a Service to two families and back. Its first address stays, though a lower one is free.
func TestGainAndLoseFamily(t *testing.T) {
	lab.Configure(t, dual)
	lab.Create(t, "lowest")
	lab.WantAddresses(t, "lowest", "192.168.1.160")
	lab.Create(t, "grows", clustertest.Families(corev1.IPFamilyPolicySingleStack, corev1.IPv4Protocol))
	lab.WantAddresses(t, "grows", "192.168.1.161")
	lab.Remove(t, "lowest")

	lab.Patch(t, "grows", `{"spec":{"ipFamilyPolicy":"PreferDualStack"}}`)
	lab.WantAddresses(t, "grows", "192.168.1.161", "fd00:1::160")
	for _, addr := range []string{"192.168.1.161", "fd00:1::160"} {
		lab.WantHTTP(t, addr)
	}

	lab.Patch(t, "grows", `{"spec":{"ipFamilyPolicy":"SingleStack"}}`)
	lab.WantAddresses(t, "grows", "192.168.1.161")
	lab.WantSilent(t, netip.MustParseAddr("fd00:1::160"))
	lab.WantHTTP(t, "192.168.1.161")
}

// TestPoolGainsFamily has Services of two families on a pool that first has one.
func TestPoolGainsFamily(t *testing.T) {
	lab.Configure(t, clustertest.Mission)
	lab.Create(t, "prefers", clustertest.Families(corev1.IPFamilyPolicyPreferDualStack))
	lab.WantAddresses(t, "prefers", "192.168.1.160")
	wantCondition(t, clustertest.Namespace, "prefers", "OneFamilyOnly", "pool default: no IPv6 addresses")
	lab.Create(t, "requires", clustertest.Families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv6Protocol, corev1.IPv4Protocol))
	lab.WantEvent(t, clustertest.Namespace, "Service", "requires", "AllocationFailed", "pool default: no IPv6 addresses")
	lab.WantAddresses(t, "requires")

	lab.SetConfig(t, dual)
	lab.WantAddresses(t, "prefers", "192.168.1.160", "fd00:1::160")
	lab.WantAddresses(t, "requires", "fd00:1::161", "192.168.1.161")
	wantCondition(t, clustertest.Namespace, "prefers", "Allocated", "")
	for _, addr := range []string{"192.168.1.160", "fd00:1::160", "fd00:1::161", "192.168.1.161"} {
		lab.WantHTTP(t, addr)
	}
}

// TestFamiliesFromTwoPools needs an address of each of two pools.
func TestFamiliesFromTwoPools(t *testing.T) {
	lab.Configure(t, pools(pool("four", "192.168.1.160/32"), pool("six", "'fd00:1::160/128'")))
	lab.Create(t, "both", clustertest.Families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol))
	lab.WantAddresses(t, "both", "192.168.1.160", "fd00:1::160")
	wantFrom(t, clustertest.Namespace, "both", "four,six")
	for _, addr := range []string{"192.168.1.160", "fd00:1::160"} {
		lab.WantHTTP(t, addr)
	}
}

func TestRequestedPool(t *testing.T) {
	lab.Configure(t, pools(pool("default", "192.168.1.160/32"), pool("old", "192.168.1.170/32"), pool("new", "192.168.1.180/32")))
	lab.Create(t, "old", clustertest.Annotated(wantPool, "old"))
	lab.WantAddresses(t, "old", "192.168.1.170")
	wantFrom(t, clustertest.Namespace, "old", "old")
	lab.Create(t, "new", clustertest.Annotated("metallb.io/address-pool", "new"))
	lab.WantAddresses(t, "new", "192.168.1.180")
	lab.WantHTTP(t, "192.168.1.180")

	lab.Create(t, "nowhere", clustertest.Annotated(wantPool, "nosuch"))
	lab.WantEvent(t, clustertest.Namespace, "Service", "nowhere", "AllocationFailed", "pool nosuch: not configured")
	lab.WantAddresses(t, "nowhere")

	// Another pool is a wish to move. One that can't be met moves nothing.
	lab.Patch(t, "old", annotations(wantPool, "new"))
	lab.WantEvent(t, clustertest.Namespace, "Service", "old", "AllocationFailed", "pool new: 1 of 1 addresses in use; it keeps 192.168.1.170")
	lab.WantAddresses(t, "old", "192.168.1.170")
	lab.Patch(t, "old", annotations(wantPool, "default"))
	lab.WantAddresses(t, "old", "192.168.1.160")
	lab.WantSilent(t, netip.MustParseAddr("192.168.1.170"))
	lab.WantHTTP(t, "192.168.1.160")
}

func TestAutoAssign(t *testing.T) {
	lab.Configure(t, pools(pool("reserved", "192.168.1.170-192.168.1.171", "auto-assign: false"), pool("default", "192.168.1.160/32")))
	lab.Create(t, "first")
	lab.WantAddresses(t, "first", "192.168.1.160")
	lab.Create(t, "second")
	lab.WantEvent(t, clustertest.Namespace, "Service", "second", "AllocationFailed",
		"pool reserved: only on request (auto-assign: false); pool default: 1 of 1 addresses in use")
	lab.WantAddresses(t, "second")
	lab.Patch(t, "second", annotations(wantPool, "reserved"))
	lab.WantAddresses(t, "second", "192.168.1.170")
	lab.Create(t, "third", clustertest.Annotated(wantAddr, "192.168.1.171"))
	lab.WantAddresses(t, "third", "192.168.1.171")
}

func TestPriority(t *testing.T) {
	lab.Configure(t, pools(
		pool("unset", "192.168.1.160/32"),
		pool("twenty", "192.168.1.161/32", "priority: 20"),
		pool("ten", "192.168.1.162/32", "priority: 10"),
	))
	for i, addr := range []string{"192.168.1.162", "192.168.1.161", "192.168.1.160"} {
		name := fmt.Sprintf("p%d", i)
		lab.Create(t, name)
		lab.WantAddresses(t, name, addr)
	}
}

// TestAvoidBuggyIPs has a pool of which the two addresses in the middle may look like a network's own.
func TestAvoidBuggyIPs(t *testing.T) {
	lab.Configure(t, pools(pool("default", "10.60.0.254-10.60.1.1", "avoid-buggy-ips: true")))
	for name, addr := range map[string]string{"buggy255": "10.60.0.255", "buggy0": "10.60.1.0"} {
		lab.Create(t, name, clustertest.Annotated(wantAddr, addr))
		lab.WantEvent(t, clustertest.Namespace, "Service", name, "AllocationFailed", "address "+addr+": avoided by pool default (avoid-buggy-ips)")
	}
	for i, addr := range []string{"10.60.0.254", "10.60.1.1"} {
		name := fmt.Sprintf("good%d", i)
		lab.Create(t, name)
		lab.WantAddresses(t, name, addr)
	}
	lab.Create(t, "late")
	lab.WantEvent(t, clustertest.Namespace, "Service", "late", "AllocationFailed", "pool default: 2 of 2 addresses in use")
	for _, name := range []string{"buggy255", "buggy0", "late"} {
		lab.WantAddresses(t, name)
	}
}

// TestSelectors has pools for a namespace, for namespaces with a label, and for Services with a label.
func TestSelectors(t *testing.T) {
	lab.Configure(t, pools(
		pool("red", "10.60.1.1-10.60.1.9", "namespaces: [e2e-red]"),
		pool("team", "10.60.2.1-10.60.2.9", "namespace-selectors: [{match-labels: {team: blue}}]"),
		pool("gold", "10.60.3.1-10.60.3.9", "service-selectors: [{match-expressions: [{key: tier, operator: In, values: [gold]}]}]"),
	))
	makeNamespace(t, "e2e-red", nil)
	makeNamespace(t, "e2e-blue", map[string]string{"team": "blue"})
	makeNamespace(t, "e2e-green", nil)
	createIn(t, "e2e-red", "a")
	createIn(t, "e2e-blue", "a")
	createIn(t, "e2e-green", "a")
	createIn(t, "e2e-green", "golden", labelled("tier", "gold"))
	wantAddressesIn(t, "e2e-red", "a", "10.60.1.1")
	wantAddressesIn(t, "e2e-blue", "a", "10.60.2.1")
	wantAddressesIn(t, "e2e-green", "golden", "10.60.3.1")
	lab.WantEvent(t, "e2e-green", "Service", "a", "AllocationFailed", "pool red: not for namespace e2e-green; "+
		"pool team: not for namespace e2e-green; pool gold: not for a Service with these labels")
	wantAddressesIn(t, "e2e-green", "a")

	// A request does not get around a selector.
	createIn(t, "e2e-green", "asks", clustertest.Annotated(wantPool, "red"))
	lab.WantEvent(t, "e2e-green", "Service", "asks", "AllocationFailed", "pool red: not for namespace e2e-green")
	wantAddressesIn(t, "e2e-green", "asks")

	// Labels of namespaces change: who waits is served, who has keeps. The controller hears of the changes in their order, so
	// it knows of the first when it shows that it knows of the second.
	labelNamespace(t, "e2e-blue", `{"team":null}`)
	labelNamespace(t, "e2e-green", `{"team":"blue"}`)
	wantAddressesIn(t, "e2e-green", "a", "10.60.2.2")
	createIn(t, "e2e-blue", "b")
	lab.WantEvent(t, "e2e-blue", "Service", "b", "AllocationFailed", "pool team: not for namespace e2e-blue")
	wantAddressesIn(t, "e2e-blue", "b")
	wantAddressesIn(t, "e2e-blue", "a", "10.60.2.1")
}

// TestPoolEdits renames, splits and removes the pool of a running Service.
func TestPoolEdits(t *testing.T) {
	lab.Configure(t, clustertest.Mission)
	lab.Create(t, "keeps")
	lab.WantAddresses(t, "keeps", "192.168.1.160")
	wantFrom(t, clustertest.Namespace, "keeps", "default")
	seen := follow(t, clustertest.Namespace)

	lab.SetConfig(t, pools(pool("renamed", "192.168.1.160-192.168.1.169")))
	wantFrom(t, clustertest.Namespace, "keeps", "renamed")
	lab.SetConfig(t, pools(pool("upper", "192.168.1.165-192.168.1.169"), pool("lower", "192.168.1.160-192.168.1.164")))
	wantFrom(t, clustertest.Namespace, "keeps", "lower")
	wantCondition(t, clustertest.Namespace, "keeps", "Allocated", "192.168.1.160 from pool lower")

	lab.SetConfig(t, pools(pool("upper", "192.168.1.165/32")))
	const stranded = "192.168.1.160 lies in no pool any more"
	wantCondition(t, clustertest.Namespace, "keeps", "Stranded", stranded)
	lab.WantEvent(t, clustertest.Namespace, "Service", "keeps", "AddressStranded", stranded)
	lab.Create(t, "other")
	lab.WantAddresses(t, "other", "192.168.1.165")
	lab.WantHTTP(t, "192.168.1.160")

	// Its user lets go of the address. As long as there is no other, it keeps what it has.
	lab.Patch(t, "keeps", annotations(kube.AnnotationReallocate, "true"))
	lab.WantEvent(t, clustertest.Namespace, "Service", "keeps", "AllocationFailed", "pool upper: 1 of 1 addresses in use; it keeps 192.168.1.160")
	lab.WantHTTP(t, "192.168.1.160")
	seen.want(t, "keeps", "192.168.1.160")
	lab.Remove(t, "other")
	lab.WantAddresses(t, "keeps", "192.168.1.165")
	wantCondition(t, clustertest.Namespace, "keeps", "Allocated", "")
	lab.WantHTTP(t, "192.168.1.165")
	lab.WantSilent(t, netip.MustParseAddr("192.168.1.160"))
	seen.want(t, "keeps", "192.168.1.160", "192.168.1.165")
}

// TestNoConfig empties the configuration, deletes it, and makes it anew.
func TestNoConfig(t *testing.T) {
	lab.Configure(t, clustertest.Mission)
	lab.Create(t, "has")
	lab.WantAddresses(t, "has", "192.168.1.160")
	seen := follow(t, clustertest.Namespace)

	lab.SetConfig(t, "")
	wantCondition(t, clustertest.Namespace, "has", "Stranded", "192.168.1.160 lies in no pool any more")
	lab.Create(t, "waits")
	lab.WantEvent(t, clustertest.Namespace, "Service", "waits", "AllocationFailed", "no address pool is configured")

	t.Cleanup(func() { applySample(t) })
	if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "delete", "configmap", "config"); err != nil {
		t.Fatal(err)
	}
	wantCondition(t, clustertest.Namespace, "waits", "NoConfig", "")
	lab.WantAddresses(t, "waits")
	lab.WantHTTP(t, "192.168.1.160")

	applySample(t)
	lab.WantAddresses(t, "waits", "192.168.1.161")
	wantCondition(t, clustertest.Namespace, "has", "Allocated", "")
	seen.want(t, "has", "192.168.1.160")
}

func applySample(t *testing.T) {
	t.Helper()
	if err := lab.Apply(context.WithoutCancel(t.Context()), "config/samples/layer2.yaml"); err != nil {
		t.Fatal(err)
	}
}

func labelled(key, value string) clustertest.Option {
	return func(s *corev1.Service) { s.Labels = map[string]string{key: value} }
}

// makeNamespace makes a namespace, which is removed after the test with all that is in it.
func makeNamespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	namespaces := lab.Kube.CoreV1().Namespaces()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	if _, err := namespaces.Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := namespaces.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		clustertest.Eventually(t, "namespace "+name+" is gone", func(ctx context.Context) error {
			_, err := namespaces.Get(ctx, name, metav1.GetOptions{})
			switch {
			case apierrors.IsNotFound(err):
				return nil
			case err == nil:
				return fmt.Errorf("it is there")
			}
			return err
		})
	})
}

func labelNamespace(t *testing.T, name, labels string) {
	t.Helper()
	if _, err := lab.Kubectl(t.Context(), "patch", "namespace", name, "-p", `{"metadata":{"labels":`+labels+`}}`); err != nil {
		t.Fatal(err)
	}
}

// createIn makes a Service without pods in a namespace of the test, with which it goes. Nobody announces it.
func createIn(t *testing.T, ns, name string, opts ...clustertest.Option) {
	t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	for _, o := range opts {
		o(s)
	}
	if _, err := lab.Kube.CoreV1().Services(ns).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// wantService waits until check accepts a Service.
func wantService(t *testing.T, ns, name, what string, check func(*corev1.Service) error) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("Service %s/%s %s", ns, name, what), func(ctx context.Context) error {
		s, err := lab.Kube.CoreV1().Services(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return check(s)
	})
}

// wantAddressesIn is wantAddresses for a Service of another namespace.
func wantAddressesIn(t *testing.T, ns, name string, want ...string) {
	t.Helper()
	wantService(t, ns, name, fmt.Sprintf("has %v", want), func(s *corev1.Service) error {
		if got := ips(s); !slices.Equal(got, want) {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

// ips returns the addresses that a Service shows.
func ips(s *corev1.Service) []string {
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP)
	}
	return out
}

// wantFrom waits until a Service says from which pool its address is, or pools.
func wantFrom(t *testing.T, ns, name, want string) {
	t.Helper()
	wantService(t, ns, name, "is from "+want, func(s *corev1.Service) error {
		if got := s.Annotations[kube.AnnotationAllocatedFrom]; got != want {
			return fmt.Errorf("it is from %q", got)
		}
		return nil
	})
}

// wantCondition waits until the condition of a Service has the reason, and a message that has this part.
func wantCondition(t *testing.T, ns, name, reason, message string) {
	t.Helper()
	wantService(t, ns, name, "has condition "+reason, func(s *corev1.Service) error {
		got := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionAllocated)
		if got == nil || got.Reason != reason || !strings.Contains(got.Message, message) {
			return fmt.Errorf("want one that says %q, it has %+v", message, got)
		}
		return nil
	})
}
