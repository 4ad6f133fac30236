package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/test/cluster/rig"
)

// proxyName is the label by which kube-proxy leaves Services and EndpointSlices to another proxy. With as many as here it would take
// the processors that are to be measured on.
const proxyName = "service.kubernetes.io/service-proxy-name"

// endpoints is how many pods a Service has.
const endpoints = 3

// load is many Services of one type, and what they look like.
type load struct {
	*fleet
	name string
	kind corev1.ServiceType
}

func (l *load) service(i int) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%05d", l.name, i), Labels: map[string]string{proxyName: "none"}},
		Spec: corev1.ServiceSpec{
			Type:  l.kind,
			Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "https", Port: 443}},
		},
	}
	if no := false; l.kind == corev1.ServiceTypeLoadBalancer {
		s.Spec.AllocateLoadBalancerNodePorts = &no
	}
	return s
}

// slice returns what is behind the i-th Service: pods on three nodes. round says how often it has changed: one pod is ready every
// second time.
func (l *load) slice(i, round int) *discoveryv1.EndpointSlice {
	name := fmt.Sprintf("%s-%05d", l.name, i)
	http, https, port, tls := "http", "https", int32(8080), int32(8443)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: name + "-pods", Labels: map[string]string{
			discoveryv1.LabelServiceName: name, discoveryv1.LabelManagedBy: "bench-scale", proxyName: "none",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &http, Port: &port}, {Name: &https, Port: &tls}},
	}
	for e := range endpoints {
		n := (i*endpoints + e) % l.nodes
		node := fmt.Sprintf("node%d", 1+n)
		ready := e > 0 || round%2 == 0
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.244.%d.%d", n, 2+i%250)},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
			NodeName:   &node,
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: rig.Namespace, Name: fmt.Sprintf("%s-%d", name, e)},
		})
	}
	return s
}

// create makes n Services, each with its EndpointSlice.
func (l *load) create(ctx context.Context, n int) error {
	return rig.Each(ctx, n, func(ctx context.Context, i int) error {
		if _, err := l.Kube.CoreV1().Services(rig.Namespace).Create(ctx, l.service(i), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create Service: %w", err)
		}
		_, err := l.Kube.DiscoveryV1().EndpointSlices(rig.Namespace).Create(ctx, l.slice(i, 0), metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("create EndpointSlice: %w", err)
		}
		return nil
	})
}

// change updates EndpointSlices of the n Services, rate of them in a second, for so long. It returns how many.
func (l *load) change(ctx context.Context, n, rate int, long time.Duration) (int, error) {
	total := int(long.Seconds() * float64(rate))
	begin := time.Now()
	err := rig.Each(ctx, total, func(ctx context.Context, i int) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate)))):
		}
		s := l.slice(i%n, 1+i/n)
		if _, err := l.Kube.DiscoveryV1().EndpointSlices(rig.Namespace).Update(ctx, s, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("update EndpointSlice: %w", err)
		}
		return nil
	})
	return total, err
}

// showAddresses writes into the status of n Services what the controller writes when it gives an address, but for the address, and
// returns how long that takes: what the API server needs for it alone. They must not be of type LoadBalancer.
func (l *load) showAddresses(ctx context.Context, n int) (time.Duration, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{"bench/ip-allocated-from-pool": "default"}},
		"status": map[string]any{"conditions": []metav1.Condition{{
			Type: "bench/AddressAllocated", Status: metav1.ConditionTrue, Reason: "Allocated", Message: "10.50.0.0 from pool default",
			LastTransitionTime: metav1.Now(),
		}}},
	})
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	err = rig.Each(ctx, n, func(ctx context.Context, i int) error {
		_, err := l.Kube.CoreV1().Services(rig.Namespace).Patch(ctx, l.service(i).Name, types.StrategicMergePatchType, patch,
			metav1.PatchOptions{}, "status")
		if err != nil {
			return fmt.Errorf("patch status: %w", err)
		}
		return nil
	})
	return time.Since(begin), err
}
