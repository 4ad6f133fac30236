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
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

func TestTwoServicesGetTheFirstTwoAddresses(t *testing.T) {
	lab.Create(t, "one")
	lab.WantAddresses(t, "one", "192.168.1.160")
	lab.Create(t, "two")
	lab.WantAddresses(t, "two", "192.168.1.161")
	lab.WantEvent(t, clustertest.Namespace, "Service", "one", "IPAllocated", `Assigned IP ["192.168.1.160"]`)
	for _, addr := range []string{"192.168.1.160", "192.168.1.161"} {
		node := lab.WantHolder(t, addr)
		lab.WantHTTP(t, addr)
		t.Logf("%s is announced by %s", addr, node)
	}
	lab.WantEvent(t, clustertest.Namespace, "Service", "one", "nodeAssigned",
		fmt.Sprintf("announcing from node %q", lab.WantHolder(t, "192.168.1.160")))
}

func TestExhaustedPoolAndRetry(t *testing.T) {
	lab.Configure(t, oneOnly)
	lab.Create(t, "first")
	lab.WantAddresses(t, "first", "192.168.1.160")
	lab.Create(t, "second")
	lab.WantEvent(t, clustertest.Namespace, "Service", "second", "AllocationFailed", "pool default: 1 of 1 addresses in use")
	lab.WantAddresses(t, "second")

	lab.Remove(t, "first")
	lab.WantAddresses(t, "second", "192.168.1.160")
	lab.WantHTTP(t, "192.168.1.160")
}

func TestTypeChangeReleases(t *testing.T) {
	lab.Configure(t, oneOnly)
	lab.Create(t, "leaves")
	lab.WantAddresses(t, "leaves", "192.168.1.160")
	lab.Create(t, "waits")
	lab.WantEvent(t, clustertest.Namespace, "Service", "waits", "AllocationFailed", "in use")

	lab.Patch(t, "leaves", `{"spec":{"type":"ClusterIP"}}`)
	lab.WantAddresses(t, "leaves")
	lab.WantAddresses(t, "waits", "192.168.1.160")
	clustertest.Eventually(t, "nothing of Invar's is left on the Service that left", func(ctx context.Context) error {
		s, err := lab.Service(ctx, "leaves")
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
	lab.Create(t, "local", clustertest.Local)
	lab.WantAddresses(t, "local", "192.168.1.160")
	clustertest.Eventually(t, "the pod sees the client's address", func(context.Context) error {
		if body := lab.WantHTTP(t, "192.168.1.160"); !strings.Contains(body, "client 192.168.1.100:") {
			return fmt.Errorf("it says %q", body)
		}
		return nil
	})
	for _, node := range lab.Nodes()[:2] {
		pod := podOn(t, node.Name)
		labelPod(t, pod, `{"serve":"here"}`)
		lab.Patch(t, "local", `{"spec":{"selector":{"app":"echo","serve":"here"}}}`)
		clustertest.Eventually(t, "announced by "+node.Name, func(ctx context.Context) error {
			got, err := lab.Holder(ctx, netip.MustParseAddr("192.168.1.160"))
			if err == nil && got != node.Name {
				err = fmt.Errorf("announced by %s", got)
			}
			return err
		})
		lab.WantHTTP(t, "192.168.1.160")
		labelPod(t, pod, `{"serve":null}`)
	}
	// Without an endpoint nobody announces.
	lab.WantSilent(t, netip.MustParseAddr("192.168.1.160"))
}

func podOn(t *testing.T, node string) string {
	t.Helper()
	var name string
	clustertest.Eventually(t, "echo pod on "+node, func(ctx context.Context) error {
		pods, err := lab.Kube.CoreV1().Pods(clustertest.Namespace).List(ctx, metav1.ListOptions{
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
	if _, err := lab.Kubectl(t.Context(), "-n", clustertest.Namespace, "patch", "pod", pod, "-p", `{"metadata":{"labels":`+labels+`}}`); err != nil {
		t.Fatal(err)
	}
}

func TestIPv6AndDualStack(t *testing.T) {
	lab.Configure(t, clustertest.Mission+"  - fd00:1::160-fd00:1::161\n")
	lab.Create(t, "six", clustertest.Families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol))
	lab.WantAddresses(t, "six", "fd00:1::160")
	t.Logf("fd00:1::160 is announced by %s", lab.WantHolder(t, "fd00:1::160"))
	lab.WantHTTP(t, "fd00:1::160")

	lab.Create(t, "dual", clustertest.Families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol))
	lab.WantAddresses(t, "dual", "192.168.1.160", "fd00:1::161")
	for _, addr := range []string{"192.168.1.160", "fd00:1::161"} {
		lab.WantHolder(t, addr)
		lab.WantHTTP(t, addr)
	}
}

func TestRequestedAddress(t *testing.T) {
	lab.Create(t, "wants", clustertest.Annotated("metallb.universe.tf/loadBalancerIPs", "192.168.1.165"))
	lab.WantAddresses(t, "wants", "192.168.1.165")
	lab.Create(t, "wantstoo", clustertest.Annotated("metallb.io/loadBalancerIPs", "192.168.1.165"))
	lab.WantEvent(t, clustertest.Namespace, "Service", "wantstoo", "AllocationFailed", "192.168.1.165")

	// A request that can't be met leaves the address that is held where it is.
	lab.Patch(t, "wants", `{"metadata":{"annotations":{"metallb.universe.tf/loadBalancerIPs":"10.1.1.1"}}}`)
	lab.WantEvent(t, clustertest.Namespace, "Service", "wants", "AllocationFailed", "it keeps 192.168.1.165")
	lab.WantAddresses(t, "wants", "192.168.1.165")
	lab.WantHTTP(t, "192.168.1.165")
}

// TestConfigWhileRunning grows, breaks and shrinks the configuration under Services that have addresses.
func TestConfigWhileRunning(t *testing.T) {
	lab.Configure(t, oneOnly)
	lab.Create(t, "a")
	lab.WantAddresses(t, "a", "192.168.1.160")
	lab.Create(t, "b")
	lab.WantEvent(t, clustertest.Namespace, "Service", "b", "AllocationFailed", "1 of 1 addresses in use")

	lab.SetConfig(t, clustertest.Mission)
	lab.WantAddresses(t, "b", "192.168.1.161")

	// A broken one is reported, and the last good one stays in force.
	lab.SetConfig(t, "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.1.300/24]\n")
	lab.WantEvent(t, cluster.Namespace, "ConfigMap", "config", "ConfigInvalid", "192.168.1.300/24")
	lab.Create(t, "c")
	lab.WantAddresses(t, "c", "192.168.1.162")

	// A pool that shrinks takes no address away.
	lab.SetConfig(t, oneOnly)
	clustertest.Eventually(t, "c is told that no pool has its address", func(ctx context.Context) error {
		s, err := lab.Service(ctx, "c")
		if err != nil {
			return err
		}
		cond := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionAllocated)
		if cond == nil || cond.Reason != "Stranded" {
			return fmt.Errorf("condition %+v", cond)
		}
		return nil
	})
	lab.WantAddresses(t, "c", "192.168.1.162")
	lab.WantHTTP(t, "192.168.1.162")
}

// TestControllerRestart kills the controller under Services: each keeps its address, also while there is no controller, and a
// new Service gets one that is free.
func TestControllerRestart(t *testing.T) {
	names := []string{"r0", "r1", "r2"}
	for i, name := range names {
		lab.Create(t, name)
		lab.WantAddresses(t, name, fmt.Sprintf("192.168.1.%d", 160+i))
	}
	lab.Remove(t, "r1") // leaves a gap below an address in use
	seen := follow(t, clustertest.Namespace)
	if _, err := lab.Kubectl(t.Context(), "-n", cluster.Namespace, "delete", "pod", "-l", "component=controller", "--wait=true"); err != nil {
		t.Fatal(err)
	}
	lab.Create(t, "r3")
	lab.WantAddresses(t, "r3", "192.168.1.161")
	for name, addr := range map[string]string{"r0": "192.168.1.160", "r2": "192.168.1.162"} {
		seen.want(t, name, addr)
	}
}
