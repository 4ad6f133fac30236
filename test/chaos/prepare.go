package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

const (
	// sharingKey is the annotation with the key for sharing an address.
	sharingKey = "metallb.io/allow-shared-ip"
	// changing is the Service whose policy changes.
	changing = "local-1"
	// churnPods is how many pods are behind the Service churn.
	churnPods = 2
	// proxyHealthPort is where kube-proxy says that it is there.
	proxyHealthPort = 10256
)

// option changes a Service before it is made.
type option func(*corev1.Service)

func local(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func dualStack(s *corev1.Service) {
	policy := corev1.IPFamilyPolicyRequireDualStack
	s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

func sharing(port int32) option {
	return func(s *corev1.Service) {
		s.Annotations = map[string]string{sharingKey: "both"}
		s.Spec.Ports[0].Port = port
		s.Spec.LoadBalancerIP = "192.168.1.179"
	}
}

func churning(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": churn} }

// service makes a Service for the pods of the DaemonSet, one of which is on each node.
func service(name string, options ...option) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeLoadBalancer,
			Selector: map[string]string{"app": "bench"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	for _, o := range options {
		o(s)
	}
	return s
}

// lasting are the Services that are there all the time.
func lasting() []*corev1.Service {
	return []*corev1.Service{
		service(changing, local), service("local-2", local), service("local-3", local), service("cluster-1"),
		service("dual-1", local, dualStack), service("dual-2", dualStack),
		service("shared-1", sharing(80)), service("shared-2", sharing(81)), service(churn, local, churning),
	}
}

// prepare makes pods and Services, and waits until all of these have addresses.
func (x *chaos) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not within "+patience.String()))
	defer cancel()
	pods := strings.NewReplacer("name: echo\nspec", "name: "+churn+"\nspec", "app: bench", "app: "+churn).Replace(rig.Echo("Deployment"))
	for _, text := range []string{rig.Echo("DaemonSet"), pods} {
		if err := x.ApplyText(ctx, text); err != nil {
			return err
		}
	}
	for _, do := range []deed{scale(churnPods), configure("default", defaultPool)} {
		if err := do(ctx, x, nil); err != nil {
			return err
		}
	}
	services := x.Kube.CoreV1().Services(rig.Namespace)
	for _, s := range lasting() {
		if _, err := services.Create(ctx, s, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create Service %s: %w", s.Name, err)
		}
	}
	return x.awaitReady(ctx)
}

// ready returns nil if all is as it should be, as far as Kubernetes and the speakers know.
func (x *chaos) ready(ctx context.Context) error {
	for _, check := range []func(context.Context) error{x.nodesReady, x.podsReady, x.proxiesReady, x.addressesGiven} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return rig.Together(ctx, x.Cluster)
}

// nodesReady returns nil if all nodes are Ready and their kubelets answer.
func (x *chaos) nodesReady(ctx context.Context) error {
	nodes, err := x.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for _, n := range nodes.Items {
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status != corev1.ConditionTrue {
				return fmt.Errorf("%s is not Ready: %s", n.Name, cond.Message)
			}
		}
		err := x.Kube.CoreV1().RESTClient().Get().Resource("nodes").Name(n.Name).SubResource("proxy").Suffix("healthz").Do(ctx).Error()
		if err != nil {
			return fmt.Errorf("ask kubelet of %s: %w", n.Name, err)
		}
	}
	return nil
}

// proxiesReady returns nil if there is a kube-proxy on each node.
func (x *chaos) proxiesReady(ctx context.Context) error {
	for _, h := range x.Nodes() {
		if _, _, err := x.Get(ctx, cluster.Client, netip.AddrPortFrom(h.IPv4, proxyHealthPort)); err != nil {
			return fmt.Errorf("ask kube-proxy of %s: %w", h.Name, err)
		}
	}
	return nil
}

// podsReady returns nil if all pods of Invar and behind the Services are ready, and none is left of what they replace.
func (x *chaos) podsReady(ctx context.Context) error {
	for _, namespace := range []string{cluster.Namespace, rig.Namespace} {
		sets, err := x.Kube.AppsV1().DaemonSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list DaemonSets: %w", err)
		}
		for _, d := range sets.Items {
			if !daemonSetReady(d) {
				return fmt.Errorf("daemonset %s is not ready: %+v", d.Name, d.Status)
			}
		}
		deployments, err := x.Kube.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list Deployments: %w", err)
		}
		for _, d := range deployments.Items {
			if !deploymentReady(d) {
				return fmt.Errorf("deployment %s is not ready: %+v", d.Name, d.Status)
			}
		}
	}
	return nil
}

func daemonSetReady(d appsv1.DaemonSet) bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.DesiredNumberScheduled == int32(len(nodeNames)) &&
		s.UpdatedNumberScheduled == s.DesiredNumberScheduled && s.NumberAvailable == s.DesiredNumberScheduled
}

func deploymentReady(d appsv1.Deployment) bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == *d.Spec.Replicas && s.Replicas == *d.Spec.Replicas &&
		s.AvailableReplicas == *d.Spec.Replicas
}

// addressesGiven returns nil if every Service has an address.
func (x *chaos) addressesGiven(ctx context.Context) error {
	services, err := x.Kube.CoreV1().Services(rig.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	for _, s := range services.Items {
		if len(s.Status.LoadBalancer.Ingress) == 0 {
			return fmt.Errorf("no address for Service %s", s.Name)
		}
	}
	return nil
}
