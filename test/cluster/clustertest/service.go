package clustertest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
)

// Option changes a Service before it is made.
type Option func(*corev1.Service)

// Local lets a Service be served by pods on the announcing node only.
func Local(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

// Families asks for addresses of these families.
func Families(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) Option {
	return func(s *corev1.Service) {
		s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, families
	}
}

// Annotated gives a Service one annotation, and no other.
func Annotated(key, value string) Option {
	return func(s *corev1.Service) { s.Annotations = map[string]string{key: value} }
}

// Create makes a Service of type LoadBalancer, which is removed after the test.
func (l *Lab) Create(t *testing.T, name string, opts ...Option) {
	t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeLoadBalancer,
			Selector: map[string]string{"app": "echo"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	for _, o := range opts {
		o(s)
	}
	if _, err := l.Kube.CoreV1().Services(Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Remove(t, name) })
}

// Remove deletes a Service, if it is still there, and waits until nobody announces what it had, unless another Service has
// got it meanwhile.
func (l *Lab) Remove(t *testing.T, name string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	s, err := l.Service(ctx, name)
	if err == nil {
		err = l.Kube.CoreV1().Services(Namespace).Delete(ctx, name, metav1.DeleteOptions{})
	}
	if apierrors.IsNotFound(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		Eventually(t, in.IP+" is silent or another Service's", func(ctx context.Context) error {
			return l.free(ctx, netip.MustParseAddr(in.IP))
		})
	}
}

// free returns nil if nobody answers for an address, or the right one does since it is a Service's.
func (l *Lab) free(ctx context.Context, addr netip.Addr) error {
	list, err := l.Kube.CoreV1().Services(Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, s := range list.Items {
		if len(s.Status.LoadBalancer.Ingress) > 0 && s.Status.LoadBalancer.Ingress[0].IP == addr.String() {
			return nil
		}
	}
	macs, err := l.Answers(ctx, cluster.Client, addr)
	if err == nil && len(macs) > 0 {
		err = fmt.Errorf("%v answer for %s", macs, addr)
	}
	return err
}

// WantSilent waits until nobody answers for an address.
func (l *Lab) WantSilent(t *testing.T, addr netip.Addr) {
	t.Helper()
	Eventually(t, fmt.Sprintf("nobody answers for %s", addr), func(ctx context.Context) error {
		macs, err := l.Answers(ctx, cluster.Client, addr)
		if err == nil && len(macs) > 0 {
			err = fmt.Errorf("%v answer", macs)
		}
		return err
	})
}

// Patch applies a merge patch to a Service.
func (l *Lab) Patch(t *testing.T, name, patch string) {
	t.Helper()
	_, err := l.Kube.CoreV1().Services(Namespace).Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// Service reads a Service of Namespace.
func (l *Lab) Service(ctx context.Context, name string) (*corev1.Service, error) {
	return l.Kube.CoreV1().Services(Namespace).Get(ctx, name, metav1.GetOptions{})
}

// Addresses returns what a Service shows as its addresses.
func (l *Lab) Addresses(ctx context.Context, name string) ([]string, error) {
	s, err := l.Service(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		out = append(out, in.IP)
	}
	return out, nil
}

// WantAddresses waits until a Service shows just these addresses.
func (l *Lab) WantAddresses(t *testing.T, name string, want ...string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("Service %s has %v", name, want), func(ctx context.Context) error {
		got, err := l.Addresses(ctx, name)
		if err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("it has %v", got)
		}
		return err
	})
}

// WantEvent waits for an Event on an object of the given kind and name.
func (l *Lab) WantEvent(t *testing.T, ns, kind, name, reason, message string) {
	t.Helper()
	Eventually(t, fmt.Sprintf("Event %s on %s %s", reason, kind, name), func(ctx context.Context) error {
		events, err := l.Kube.CoreV1().Events(ns).List(ctx, metav1.ListOptions{
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

// DualService makes a Service with policy Local and an address of each family, which the node announces, and returns the
// addresses once that node alone answers for them.
func (l *Lab) DualService(t *testing.T, name, node string) []netip.AddrPort {
	t.Helper()
	l.Configure(t, Dual)
	l.Create(t, name, Local, Annotated(kube.AnnotationAnnounceFrom, node),
		Families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol))
	l.WantAddresses(t, name, "192.168.1.160", "fd00:1::160")
	addrs := []netip.AddrPort{netip.MustParseAddrPort("192.168.1.160:80"), netip.MustParseAddrPort("[fd00:1::160]:80")}
	l.WantHeldBy(t, node, addrs...)
	return addrs
}

// WantHTTP waits until the host on the LAN gets an answer at an address, and returns it.
func (l *Lab) WantHTTP(t *testing.T, addr string) string {
	t.Helper()
	return l.WantHTTPFrom(t, cluster.Client, addr)
}

// WantHTTPFrom is WantHTTP for any host.
func (l *Lab) WantHTTPFrom(t *testing.T, host, addr string) string {
	t.Helper()
	return l.WantSite(t, host, addr, netip.AddrPortFrom(netip.MustParseAddr(addr), 80).String(), 200)
}

// WantSite waits until a host gets an answer with this code for a site, by its name, at an address, and returns it.
func (l *Lab) WantSite(t *testing.T, host, addr, site string, want int) string {
	t.Helper()
	var body string
	Eventually(t, fmt.Sprintf("HTTP %d from %s", want, addr), func(ctx context.Context) error {
		code, b, err := l.GetSite(ctx, host, netip.AddrPortFrom(netip.MustParseAddr(addr), 80), site)
		if err == nil && code != want {
			err = fmt.Errorf("HTTP %d", code)
		}
		body = b
		return err
	})
	return body
}

// WantHolder waits until just one node answers for an address, and returns its name.
func (l *Lab) WantHolder(t *testing.T, addr string) string {
	t.Helper()
	var node string
	Eventually(t, "one node answers for "+addr, func(ctx context.Context) (err error) {
		node, err = l.Holder(ctx, netip.MustParseAddr(addr))
		return err
	})
	return node
}

// WantHeldBy waits until the node alone answers for all the addresses.
func (l *Lab) WantHeldBy(t *testing.T, node string, addrs ...netip.AddrPort) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%s answers for %v", node, addrs), func(ctx context.Context) error {
		for _, addr := range addrs {
			if now, err := l.Holder(ctx, addr.Addr()); err != nil || now != node {
				return fmt.Errorf("%s is answered by %q: %w", addr.Addr(), now, err)
			}
		}
		return nil
	})
}
