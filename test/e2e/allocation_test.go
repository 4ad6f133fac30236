//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
)

func TestTwoServicesGetTheFirstTwoAddresses(t *testing.T) {
	create(t, "one")
	wantAddresses(t, "one", "192.168.1.160")
	create(t, "two")
	wantAddresses(t, "two", "192.168.1.161")
	wantEvent(t, namespace, "Service", "one", "IPAllocated", `Assigned IP ["192.168.1.160"]`)
	for _, addr := range []string{"192.168.1.160", "192.168.1.161"} {
		node := holder(t, addr)
		wantHTTP(t, addr)
		t.Logf("%s is announced by %s", addr, node)
	}
	wantEvent(t, namespace, "Service", "one", "nodeAssigned",
		fmt.Sprintf("announcing from node %q", holder(t, "192.168.1.160")))
}

func TestExhaustedPoolAndRetry(t *testing.T) {
	configure(t, oneOnly)
	create(t, "first")
	wantAddresses(t, "first", "192.168.1.160")
	create(t, "second")
	wantEvent(t, namespace, "Service", "second", "AllocationFailed", "pool default: 1 of 1 addresses in use")
	wantAddresses(t, "second")

	remove(t, "first")
	wantAddresses(t, "second", "192.168.1.160")
	wantHTTP(t, "192.168.1.160")
}

func TestTypeChangeReleases(t *testing.T) {
	configure(t, oneOnly)
	create(t, "leaves")
	wantAddresses(t, "leaves", "192.168.1.160")
	create(t, "waits")
	wantEvent(t, namespace, "Service", "waits", "AllocationFailed", "in use")

	patch(t, "leaves", `{"spec":{"type":"ClusterIP"}}`)
	wantAddresses(t, "leaves")
	wantAddresses(t, "waits", "192.168.1.160")
	eventually(t, "nothing of Invar's is left on the Service that left", func(ctx context.Context) error {
		s, err := service(ctx, "leaves")
		if err != nil {
			return err
		}
		if _, ok := s.Annotations[kube.AnnotationAllocatedFrom]; ok || len(s.Status.Conditions) > 0 {
			return fmt.Errorf("annotations %v, conditions %v", s.Annotations, s.Status.Conditions)
		}
		return nil
	})
}

// TestLocalPolicy moves the pods of a Service to one node, and then to another: only a node with a pod announces.
func TestLocalPolicy(t *testing.T) {
	create(t, "local", local)
	wantAddresses(t, "local", "192.168.1.160")
	eventually(t, "the pod sees the client's address", func(context.Context) error {
		if body := wantHTTP(t, "192.168.1.160"); !strings.Contains(body, "client 192.168.1.100:") {
			return fmt.Errorf("it says %q", body)
		}
		return nil
	})
	for _, node := range lab.Nodes()[:2] {
		pod := podOn(t, node.Name)
		labelPod(t, pod, `{"serve":"here"}`)
		patch(t, "local", `{"spec":{"selector":{"app":"echo","serve":"here"}}}`)
		eventually(t, "announced by "+node.Name, func(ctx context.Context) error {
			got, err := lab.Holder(ctx, netip.MustParseAddr("192.168.1.160"))
			if err == nil && got != node.Name {
				err = fmt.Errorf("announced by %s", got)
			}
			return err
		})
		wantHTTP(t, "192.168.1.160")
		labelPod(t, pod, `{"serve":null}`)
	}
	// Without an endpoint nobody announces.
	silent(t, netip.MustParseAddr("192.168.1.160"))
}

func podOn(t *testing.T, node string) string {
	t.Helper()
	var name string
	eventually(t, "echo pod on "+node, func(ctx context.Context) error {
		pods, err := lab.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
			LabelSelector: "app=echo", FieldSelector: "spec.nodeName=" + node,
		})
		if err == nil && len(pods.Items) != 1 {
			err = fmt.Errorf("there are %d", len(pods.Items))
		}
		if err == nil {
			name = pods.Items[0].Name
		}
		return err
	})
	return name
}

func labelPod(t *testing.T, pod, labels string) {
	t.Helper()
	if _, err := lab.Kubectl(t.Context(), "-n", namespace, "patch", "pod", pod, "-p", `{"metadata":{"labels":`+labels+`}}`); err != nil {
		t.Fatal(err)
	}
}

func TestIPv6AndDualStack(t *testing.T) {
	configure(t, mission+"  - fd00:1::160-fd00:1::161\n")
	create(t, "six", families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol))
	wantAddresses(t, "six", "fd00:1::160")
	t.Logf("fd00:1::160 is announced by %s", holder(t, "fd00:1::160"))
	wantHTTP(t, "fd00:1::160")

	create(t, "dual", families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol))
	wantAddresses(t, "dual", "192.168.1.160", "fd00:1::161")
	for _, addr := range []string{"192.168.1.160", "fd00:1::161"} {
		holder(t, addr)
		wantHTTP(t, addr)
	}
}

func TestRequestedAddress(t *testing.T) {
	create(t, "wants", annotated("metallb.universe.tf/loadBalancerIPs", "192.168.1.165"))
	wantAddresses(t, "wants", "192.168.1.165")
	create(t, "wantstoo", annotated("metallb.io/loadBalancerIPs", "192.168.1.165"))
	wantEvent(t, namespace, "Service", "wantstoo", "AllocationFailed", "192.168.1.165")

	// A request that can't be met leaves the address that is held where it is.
	patch(t, "wants", `{"metadata":{"annotations":{"metallb.universe.tf/loadBalancerIPs":"10.1.1.1"}}}`)
	wantEvent(t, namespace, "Service", "wants", "AllocationFailed", "it keeps 192.168.1.165")
	wantAddresses(t, "wants", "192.168.1.165")
	wantHTTP(t, "192.168.1.165")
}

// TestConfigWhileRunning grows, breaks and shrinks the configuration under Services that have addresses.
func TestConfigWhileRunning(t *testing.T) {
	configure(t, oneOnly)
	create(t, "a")
	wantAddresses(t, "a", "192.168.1.160")
	create(t, "b")
	wantEvent(t, namespace, "Service", "b", "AllocationFailed", "1 of 1 addresses in use")

	setConfig(t, mission)
	wantAddresses(t, "b", "192.168.1.161")

	// A broken one is reported, and the last good one stays in force.
	setConfig(t, "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.1.300/24]\n")
	wantEvent(t, cluster.Namespace, "ConfigMap", "config", "ConfigInvalid", "192.168.1.300/24")
	create(t, "c")
	wantAddresses(t, "c", "192.168.1.162")

	// A pool that shrinks takes no address away.
	setConfig(t, oneOnly)
	eventually(t, "c is told that no pool has its address", func(ctx context.Context) error {
		s, err := service(ctx, "c")
		if err != nil {
			return err
		}
		cond := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionAllocated)
		if cond == nil || cond.Reason != "Stranded" {
			return fmt.Errorf("condition %+v", cond)
		}
		return nil
	})
	wantAddresses(t, "c", "192.168.1.162")
	wantHTTP(t, "192.168.1.162")
}

// TestControllerRestart kills the controller under Services: each keeps its address, also while there is no controller, and a
// new Service gets one that is free.
func TestControllerRestart(t *testing.T) {
	names := []string{"r0", "r1", "r2"}
	for i, name := range names {
		create(t, name)
		wantAddresses(t, name, fmt.Sprintf("192.168.1.%d", 160+i))
	}
	remove(t, "r1") // leaves a gap below an address in use
	seen := follow(t, namespace)
	if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "delete", "pod", "-l", "component=controller", "--wait=true"); err != nil {
		t.Fatal(err)
	}
	create(t, "r3")
	wantAddresses(t, "r3", "192.168.1.161")
	for name, addr := range map[string]string{"r0": "192.168.1.160", "r2": "192.168.1.162"} {
		seen.want(t, name, addr)
	}
}
