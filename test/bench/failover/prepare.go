package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// service is the Service that connections go to.
const service = "failover"

// pool holds all addresses of the benchmark; it lies outside the LAN's own network.
const pool = "10.50.0.0/16"

// prepare makes the pods and the Service, and tells the client that the pool's addresses are on its link.
func (b *bench) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not within "+patience.String()))
	defer cancel()
	if err := b.ApplyText(ctx, rig.Echo("DaemonSet")); err != nil {
		return err
	}
	if _, err := b.Run(ctx, cluster.Client, "ip", "route", "replace", pool, "dev", "eth0"); err != nil {
		return err
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: service},
		Spec: corev1.ServiceSpec{
			Type:                  corev1.ServiceTypeLoadBalancer,
			ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
			Selector:              map[string]string{"app": "bench"},
			Ports:                 []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	if _, err := b.Kube.CoreV1().Services(rig.Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Service %s: %w", service, err)
	}
	return cluster.Eventually(ctx, func() error { return b.findAddress(ctx) })
}

// findAddress returns nil once the Service has an address that serves.
func (b *bench) findAddress(ctx context.Context) error {
	s, err := b.Kube.CoreV1().Services(rig.Namespace).Get(ctx, service, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(s.Status.LoadBalancer.Ingress) == 0 {
		return fmt.Errorf("no address for Service %s", service)
	}
	addr, err := netip.ParseAddr(s.Status.LoadBalancer.Ingress[0].IP)
	if err != nil {
		return err
	}
	b.addr = netip.AddrPortFrom(addr, 80)
	code, _, err := b.Get(ctx, cluster.Client, b.addr)
	if err == nil && code != 200 {
		err = fmt.Errorf("HTTP %d", code)
	}
	return err
}

// ready waits until all nodes, speakers and echo pods are ready, and all speakers see each other.
func (b *bench) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not ready within "+patience.String()))
	defer cancel()
	begin := time.Now()
	var last error
	err := cluster.Eventually(ctx, func() error {
		if err := b.check(ctx); ctx.Err() == nil {
			last = err // and not that a command was ended
		}
		return last
	})
	progress("ready after %.1f s", time.Since(begin).Seconds())
	return err
}

// check returns nil if all is ready. It has kubectl wait.
func (b *bench) check(ctx context.Context) error {
	for _, command := range []string{
		"wait --for=condition=Ready node --all --timeout=60s",
		"-n " + cluster.Namespace + " rollout status daemonset/speaker --timeout=60s",
		"-n " + rig.Namespace + " rollout status daemonset/echo --timeout=60s",
	} {
		if _, err := b.Kubectl(ctx, strings.Fields(command)...); err != nil {
			return err
		}
	}
	return rig.Together(ctx, b.Cluster)
}
