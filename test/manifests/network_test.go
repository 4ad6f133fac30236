package manifests

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// TestNetworkPolicy checks that the policy is for the controller's pods, lets in what their ports are for and no more, and lets
// the controller reach the speakers and the API server, and nothing else. It goes by the ports' numbers: of two that have the same
// one, such as 7946, kubectl apply over a MetalLB leaves one out of the pods, name and all.
func TestNetworkPolicy(t *testing.T) {
	objects := load(t, "config/network-policies/controller.yaml")
	if len(objects) != 1 {
		t.Fatalf("%d objects, want 1", len(objects))
	}
	policy := objects[0].(*networkingv1.NetworkPolicy).Spec
	pod := only[*appsv1.Deployment](t).Spec.Template
	diff(t, "pods", pod.Labels, policy.PodSelector.MatchLabels)
	diff(t, "types", []networkingv1.PolicyType{"Ingress", "Egress"}, policy.PolicyTypes)

	var in, out []string
	for _, rule := range policy.Ingress {
		in = append(in, policyPorts(rule.Ports)...)
	}
	slices.Sort(in)
	diff(t, "let in", slices.Sorted(maps.Values(ports(pod.Spec.Containers[0]))), in)
	for _, rule := range policy.Egress {
		out = append(out, policyPorts(rule.Ports)...)
	}
	diff(t, "let out", []string{"443/TCP", "6443/TCP", "7946/TCP", "7946/UDP"}, out)
	speakers := only[*corev1.Service](t).Spec.Ports
	for _, p := range speakers {
		if want := fmt.Sprintf("%d/%s", p.Port, p.Protocol); !slices.Contains(out, want) {
			t.Errorf("the speakers' port %s is not let out", want)
		}
	}
}

// policyPorts are ports as "name or number/protocol".
func policyPorts(ports []networkingv1.NetworkPolicyPort) []string {
	var texts []string
	for _, p := range ports {
		texts = append(texts, fmt.Sprintf("%s/%s", p.Port.String(), *p.Protocol))
	}
	return texts
}
