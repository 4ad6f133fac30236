//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// TestStatusPutBack has the address of a Service overwritten by somebody else. The same one comes back, though a lower one is
// free.
func TestStatusPutBack(t *testing.T) {
	lab.Create(t, "lowest")
	lab.WantAddresses(t, "lowest", "192.168.1.160")
	lab.Create(t, "wiped")
	lab.WantAddresses(t, "wiped", "192.168.1.161")
	lab.Remove(t, "lowest")
	seen := follow(t, clustertest.Namespace)

	patchStatus(t, "wiped", `{"status":{"loadBalancer":null}}`)
	lab.WantAddresses(t, "wiped", "192.168.1.161")
	seen.want(t, "wiped", "192.168.1.161", "", "192.168.1.161")

	patchStatus(t, "wiped", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.168.1.165"}]}}}`)
	lab.WantAddresses(t, "wiped", "192.168.1.161")
	seen.want(t, "wiped", "192.168.1.161", "", "192.168.1.161", "192.168.1.165", "192.168.1.161")

	// The condition and the annotation are put back as well.
	s := patchStatus(t, "wiped", `{"metadata":{"annotations":null},"status":{"conditions":null}}`)
	if len(s.Annotations)+len(s.Status.Conditions) > 0 {
		t.Fatalf("the patch left annotations %v and conditions %v, want none", s.Annotations, s.Status.Conditions)
	}
	wantCondition(t, clustertest.Namespace, "wiped", "Allocated", "192.168.1.161 from pool default")
	wantFrom(t, clustertest.Namespace, "wiped", "default")
	lab.WantHTTP(t, "192.168.1.161")
	lab.Create(t, "next")
	lab.WantAddresses(t, "next", "192.168.1.160")
}

// patchStatus applies a merge patch to the status of a Service, as somebody else, and returns what came of it.
func patchStatus(t *testing.T, name, patch string) *corev1.Service {
	t.Helper()
	s, err := lab.Kube.CoreV1().Services(clustertest.Namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch),
		metav1.PatchOptions{FieldManager: "somebody-else"}, "status")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOtherClass has a Service that another load balancer is in charge of.
func TestOtherClass(t *testing.T) {
	const class = "example.com/other"
	lab.Create(t, "theirs", func(s *corev1.Service) { s.Spec.LoadBalancerClass = new(class) })
	lab.Create(t, "ours")
	lab.WantAddresses(t, "ours", "192.168.1.160") // so the controller has seen theirs too
	s, err := lab.Service(t.Context(), "theirs")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Status.LoadBalancer.Ingress)+len(s.Status.Conditions)+len(s.Annotations) > 0 {
		t.Errorf("a Service of class %s has annotations %v and status %+v, want none", class, s.Annotations, s.Status)
	}

	// What its own load balancer writes stays, and is not announced.
	seen := follow(t, clustertest.Namespace)
	patchStatus(t, "theirs", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.168.1.169"}]}}}`)
	lab.Create(t, "later")
	lab.WantAddresses(t, "later", "192.168.1.161")
	lab.WantHTTP(t, "192.168.1.161") // so the speakers have seen theirs too
	macs, err := lab.Answers(t.Context(), cluster.Client, netip.MustParseAddr("192.168.1.169"))
	if err != nil {
		t.Fatal(err)
	}
	if len(macs) > 0 {
		t.Errorf("%v answer for an address of a Service of class %s, want nobody", macs, class)
	}
	seen.want(t, "theirs", "", "192.168.1.169")
}

// many is a configuration with more addresses than the tests need.
var many = pools(pool("many", "10.61.0.0/24"))

// TestTwoControllers deletes the controller that leads while Services are being made, and another one stands by.
func TestTwoControllers(t *testing.T) {
	const ns = "e2e-two"
	lab.Configure(t, many)
	makeNamespace(t, ns, nil)
	kept := wantServices(t, ns, "kept", 5)
	twoControllers(t)
	leader := leading(t)
	seen := follow(t, ns)

	names := create20(t, ns, "before")
	if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "delete", "pod", leader, "--wait=false"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	names = append(names, create20(t, ns, "after")...)
	next := newLeader(t, leader)
	seen.wantDistinct(t, names...)
	t.Logf("%s leads after %s; all 40 new Services had an address after at most %s", next, leader, time.Since(start))
	for name, addr := range kept {
		seen.want(t, name, addr)
	}
}

// TestFrozenController stops the node of the controller that leads for longer than its Lease lasts, and lets it go on. It has
// missed all that the other one did meanwhile and must not undo any of it.
func TestFrozenController(t *testing.T) {
	const ns = "e2e-frozen"
	lab.Configure(t, many)
	makeNamespace(t, ns, nil)
	kept := wantServices(t, ns, "kept", 5)
	twoControllers(t)
	leader := leading(t)
	node := nodeOf(t, leader)
	seen := follow(t, ns)

	freeze(t, node)
	next := newLeader(t, leader)
	if err := lab.Kube.CoreV1().Services(ns).Delete(t.Context(), "kept0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	names := create20(t, ns, "meanwhile")
	seen.wantDistinct(t, names...)
	given := map[string]string{}
	for _, name := range names {
		given[name] = seen.shows(name)
	}
	thaw(t, node)
	wantLeading(t, leader, 0)
	wantLeading(t, next, 1)
	names = append(names, create20(t, ns, "afterwards")...)
	seen.wantDistinct(t, names...)
	delete(kept, "kept0")
	for name, addr := range kept {
		seen.want(t, name, addr)
	}
	for name, addr := range given {
		seen.want(t, name, "", addr)
	}
}

// wantServices makes n Services, waits for their addresses and returns these by name.
func wantServices(t *testing.T, ns, prefix string, n int) map[string]string {
	t.Helper()
	given := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("%s%d", prefix, i)
		createIn(t, ns, name)
		wantService(t, ns, name, "has an address", func(s *corev1.Service) error {
			if len(ips(s)) != 1 {
				return errors.New("it has none")
			}
			given[name] = ips(s)[0]
			return nil
		})
	}
	return given
}

// create20 makes 20 Services, and returns their names.
func create20(t *testing.T, ns, prefix string) []string {
	t.Helper()
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("%s%d", prefix, i))
		createIn(t, ns, names[i])
	}
	return names
}

// twoControllers makes the Deployment have two pods, for the time of the test.
func twoControllers(t *testing.T) {
	t.Helper()
	scale(t, 2)
	t.Cleanup(func() { scale(t, 1) })
}

// scale waits until the Deployment has just n pods, all of them ready.
func scale(t *testing.T, n int) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if _, err := lab.Kubectl(ctx, "-n", cluster.Namespace, "scale", "deployment/controller", fmt.Sprint("--replicas=", n)); err != nil {
		t.Fatal(err)
	}
	clustertest.Eventually(t, fmt.Sprintf("there are %d controllers, ready", n), func(ctx context.Context) error {
		pods, err := controllers(ctx)
		if err == nil && len(pods) != n {
			err = fmt.Errorf("there are %d", len(pods))
		}
		for _, p := range pods {
			if !slices.ContainsFunc(p.Status.Conditions, isReady) {
				err = errors.Join(err, fmt.Errorf("%s is not ready", p.Name))
			}
		}
		return err
	})
}

func isReady(c corev1.PodCondition) bool {
	return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
}

func controllers(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := lab.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "component=controller"})
	if err != nil {
		return nil, err
	}
	return pods.Items, nil
}

// leading returns the controller that leads, after making sure that it alone of all says so.
func leading(t *testing.T) string {
	t.Helper()
	leader := newLeader(t, "")
	pods, err := controllers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		want := 0
		if p.Name == leader {
			want = 1
		}
		wantLeading(t, p.Name, want)
	}
	return leader
}

// newLeader waits until a pod that is there holds the Lease, and not the former one.
func newLeader(t *testing.T, former string) string {
	t.Helper()
	var leader string
	clustertest.Eventually(t, "a controller leads", func(ctx context.Context) (err error) {
		if leader, err = lab.LeaseHolder(ctx); err != nil {
			return err
		}
		if leader == former {
			return fmt.Errorf("%s still does", former)
		}
		_, err = lab.Kube.CoreV1().Pods(cluster.Namespace).Get(ctx, leader, metav1.GetOptions{})
		return err
	})
	return leader
}

// wantLeading waits until the metrics of a controller say whether it leads.
func wantLeading(t *testing.T, pod string, want int) {
	t.Helper()
	line := fmt.Sprintf("invar_controller_leading_bool %d", want)
	clustertest.Eventually(t, fmt.Sprintf("metrics of %s say %q", pod, line), func(ctx context.Context) error {
		got, err := lab.Metrics(ctx, pod, "invar_controller_leading_bool")
		if err == nil && !slices.Equal(got, []string{line}) {
			err = fmt.Errorf("they say %q", got)
		}
		return err
	})
}

// nodeOf returns the node that a controller runs on, which must be the only one there.
func nodeOf(t *testing.T, pod string) string {
	t.Helper()
	pods, err := controllers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nodes := map[string]string{}
	for _, p := range pods {
		nodes[p.Name] = p.Spec.NodeName
	}
	for name, node := range nodes {
		if name != pod && node == nodes[pod] {
			t.Fatalf("both controllers run on %s", node)
		}
	}
	return nodes[pod]
}

// freeze stops a node until thaw, at the latest after the test.
func freeze(t *testing.T, node string) {
	t.Helper()
	if err := lab.Lab(t.Context(), "freeze", node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { thaw(t, node) })
}

// thaw lets a node go on, and waits until it is Ready and its speaker is.
func thaw(t *testing.T, node string) {
	t.Helper()
	if err := lab.Lab(context.WithoutCancel(t.Context()), "thaw", node); err != nil {
		t.Fatal(err)
	}
	lab.Heal(t, node)
}
