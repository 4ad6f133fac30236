//go:build e2e

// Package e2e tests Invar on a lab: a real cluster with a host on its LAN. `make test-e2e` brings the lab up.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/test/cluster"
)

// lab is the cluster that all tests share. They run one after the other, and each leaves it as it found it.
var lab *cluster.Cluster

// namespace holds the Services of the tests and the echo pods behind them, one on each node.
const namespace = "e2e"

// bound is how long anything may take that has no bound of its own.
const bound = time.Minute

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := prepare(ctx); err != nil {
		log.Fatal("prepare the lab: ", err)
	}
	os.Exit(m.Run())
}

// prepare installs Invar as a user would, with the sample configuration as it stands.
func prepare(ctx context.Context) (err error) {
	if lab, err = cluster.Open(ctx, os.Getenv("LAB_NAME")); err != nil {
		return err
	}
	for _, file := range []string{"manifests/invar.yaml", "config/samples/layer2.yaml"} {
		if err := lab.Apply(ctx, file); err != nil {
			return err
		}
	}
	if err := lab.ApplyText(ctx, echo); err != nil {
		return err
	}
	for _, what := range [][]string{
		{cluster.Namespace, "deployment/controller"}, {cluster.Namespace, "daemonset/speaker"}, {namespace, "daemonset/echo"},
	} {
		if err := lab.Rollout(ctx, what[0], what[1]); err != nil {
			return err
		}
	}
	return nil
}

// echo is an HTTP server on each node. Being on each, it serves whichever node a test leaves.
const echo = `
apiVersion: v1
kind: Namespace
metadata:
  name: ` + namespace + `
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  namespace: ` + namespace + `
  name: echo
spec:
  selector:
    matchLabels: {app: echo}
  template:
    metadata:
      labels: {app: echo}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: invar-lab/echo:v1
        imagePullPolicy: IfNotPresent
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        readinessProbe:
          httpGet: {path: /, port: 8080}
          periodSeconds: 1
`

// Configurations.
const (
	mission = "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - 192.168.1.160-192.168.1.169\n"
	oneOnly = "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - 192.168.1.160-192.168.1.160\n"
)

// configure puts a configuration in place of the sample, for the time of the test.
func configure(t *testing.T, text string) {
	t.Helper()
	setConfig(t, text)
	t.Cleanup(func() { setConfig(t, mission) })
}

// setConfig writes a configuration and, if it is valid, waits until the controller has its pools. It hears of the configuration
// and of Services on different ways: a Service made at once might still be given an address of the pools before.
func setConfig(t *testing.T, text string) {
	t.Helper()
	maps := lab.Kube.CoreV1().ConfigMaps(cluster.Namespace)
	eventually(t, "write the configuration", func(ctx context.Context) error {
		cm, err := maps.Get(ctx, "config", metav1.GetOptions{})
		if err != nil {
			return err
		}
		cm.Data = map[string]string{"config": text}
		_, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
		return err
	})
	if cfg, err := config.Parse(text); err == nil {
		inForce(t, cfg)
	}
}

// inForce waits until the metrics of the controller that leads show the pools of a configuration, and no others.
func inForce(t *testing.T, cfg *config.Config) {
	t.Helper()
	want := []string{}
	for _, p := range cfg.Pools {
		total := uint64(0)
		for _, r := range p.Ranges {
			total += r.Capacity(p.AvoidBuggyIPs)
		}
		want = append(want, fmt.Sprintf("metallb_allocator_addresses_total{pool=%q} %d", p.Name, total))
	}
	slices.Sort(want)
	eventually(t, "the pools are in force", func(ctx context.Context) error {
		leader, err := leaseHolder(ctx)
		if err != nil {
			return err
		}
		got, err := lab.Metrics(ctx, leader, "metallb_allocator_addresses_total")
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("want %q, the metrics show %q", want, got)
		}
		return err
	})
}

// option changes a Service before it is made.
type option func(*corev1.Service)

func local(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func families(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) option {
	return func(s *corev1.Service) {
		s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, families
	}
}

func annotated(key, value string) option {
	return func(s *corev1.Service) { s.Annotations = map[string]string{key: value} }
}

// create makes a Service of type LoadBalancer, which is removed after the test.
func create(t *testing.T, name string, opts ...option) {
	t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeLoadBalancer,
			Selector: map[string]string{"app": "echo"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	for _, o := range opts {
		o(s)
	}
	if _, err := lab.Kube.CoreV1().Services(namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, name) })
}

// remove deletes a Service, if it is still there, and waits until nobody announces what it had, unless another Service has
// got it meanwhile.
func remove(t *testing.T, name string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	s, err := service(ctx, name)
	if err == nil {
		err = lab.Kube.CoreV1().Services(namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		eventually(t, in.IP+" is silent or another Service's", func(ctx context.Context) error {
			return free(ctx, netip.MustParseAddr(in.IP))
		})
	}
}

// free returns nil if nobody answers for an address, or the right one does since it is a Service's.
func free(ctx context.Context, addr netip.Addr) error {
	list, err := lab.Kube.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, s := range list.Items {
		if len(s.Status.LoadBalancer.Ingress) > 0 && s.Status.LoadBalancer.Ingress[0].IP == addr.String() {
			return nil
		}
	}
	macs, err := lab.Answers(ctx, cluster.Client, addr)
	if err == nil && len(macs) > 0 {
		err = fmt.Errorf("%v answer for %s", macs, addr)
	}
	return err
}

// silent waits until nobody answers for an address.
func silent(t *testing.T, addr netip.Addr) {
	t.Helper()
	eventually(t, fmt.Sprintf("nobody answers for %s", addr), func(ctx context.Context) error {
		macs, err := lab.Answers(ctx, cluster.Client, addr)
		if err == nil && len(macs) > 0 {
			err = fmt.Errorf("%v answer", macs)
		}
		return err
	})
}

// patch applies a merge patch to a Service.
func patch(t *testing.T, name, patch string) {
	t.Helper()
	_, err := lab.Kube.CoreV1().Services(namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func service(ctx context.Context, name string) (*corev1.Service, error) {
	return lab.Kube.CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
}

// addresses returns what a Service shows as its addresses.
func addresses(ctx context.Context, name string) ([]string, error) {
	s, err := service(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP)
	}
	return out, nil
}

// wantAddresses waits until a Service shows just these addresses.
func wantAddresses(t *testing.T, name string, want ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("Service %s has %v", name, want), func(ctx context.Context) error {
		got, err := addresses(ctx, name)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it has %v", got)
		}
		return err
	})
}

// wantEvent waits for an Event on an object of the given kind and name.
func wantEvent(t *testing.T, ns, kind, name, reason, message string) {
	t.Helper()
	eventually(t, fmt.Sprintf("Event %s on %s %s", reason, kind, name), func(ctx context.Context) error {
		events, err := lab.Kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.kind=" + kind + ",involvedObject.name=" + name + ",reason=" + reason,
		})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range events.Items {
			if strings.Contains(e.Message, message) {
				return nil
			}
			seen = append(seen, e.Message)
		}
		return fmt.Errorf("no such event says %q, but %q", message, seen)
	})
}

// wantHTTP waits until the host on the LAN gets an answer at an address, and returns it.
func wantHTTP(t *testing.T, addr string) string {
	t.Helper()
	var body string
	eventually(t, "HTTP 200 from "+addr, func(ctx context.Context) error {
		code, b, err := lab.Get(ctx, cluster.Client, netip.AddrPortFrom(netip.MustParseAddr(addr), 80))
		if err == nil && code != 200 {
			err = fmt.Errorf("HTTP %d", code)
		}
		body = b
		return err
	})
	return body
}

// holder waits until just one node answers for an address, and returns its name.
func holder(t *testing.T, addr string) string {
	t.Helper()
	var node string
	eventually(t, "one node answers for "+addr, func(ctx context.Context) (err error) {
		node, err = lab.Holder(ctx, netip.MustParseAddr(addr))
		return err
	})
	return node
}

// eventually waits for f to return no error.
func eventually(t *testing.T, what string, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(t.Context()), bound, errors.New("not within "+bound.String()))
	defer cancel()
	if err := cluster.Eventually(ctx, func() error { return f(ctx) }); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
