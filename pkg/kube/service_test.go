package kube

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// equate compares addresses by value and errors by their text.
var equate = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}),
	cmp.Comparer(func(a, b error) bool { return fmt.Sprint(a) == fmt.Sprint(b) }),
}

func addrs(texts ...string) []netip.Addr {
	out := make([]netip.Addr, len(texts))
	for i, text := range texts {
		out[i] = netip.MustParseAddr(text)
	}
	return out
}

// annotated returns a Service with the annotations kv: key, value, key, value and so on.
func annotated(kv ...string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{}}}
	for i := 0; i < len(kv); i += 2 {
		s.Annotations[kv[i]] = kv[i+1]
	}
	return s
}

func TestServiceOf(t *testing.T) {
	class, prefer, require := "invar.io/l2", corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack
	tests := []struct {
		name string
		in   *corev1.Service
		want Service
	}{
		{name: "empty object", in: &corev1.Service{}},
		{
			name: "everything",
			in: &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: "default", Name: "echo", Labels: map[string]string{"a": "b"},
					Annotations: map[string]string{
						"metallb.io/address-pool": "edge", "metallb.io/allow-shared-ip": "key",
						"invar.io/announce-from": "node2", "invar.io/reallocate": "true",
						"metallb.io/ip-allocated-from-pool": "edge,other",
					},
				},
				Spec: corev1.ServiceSpec{
					LoadBalancerClass: &class, LoadBalancerIP: "192.168.1.160", IPFamilyPolicy: &prefer,
					IPFamilies: []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol},
					Ports: []corev1.ServicePort{
						{Protocol: corev1.ProtocolTCP, Port: 80}, {Protocol: corev1.ProtocolUDP, Port: 65535},
					},
					ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
					Selector:              map[string]string{"app": "echo"},
				},
				Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{
					{IP: "192.168.1.160"}, {Hostname: "lb.example.org"}, {IP: "192.168.1.160"}, {IP: "2001:db8::1"}, {IP: "junk"},
				}}},
			},
			want: Service{
				Name: cache.NewObjectName("default", "echo"), Labels: map[string]string{"a": "b"}, Class: class,
				IPv4: true, IPv6: true, IPv6First: true, Partial: true, Local: true,
				Ports:    []Port{{"TCP", 80}, {"UDP", 65535}},
				Selector: map[string]string{"app": "echo"},
				Pool:     "edge", SharingKey: "key", Addrs: addrs("192.168.1.160"), Reallocate: true, AnnounceFrom: "node2",
				Ingress: addrs("192.168.1.160", "2001:db8::1"), AllocatedFrom: "edge,other",
			},
		},
		{
			name: "older prefix",
			in: annotated("metallb.universe.tf/address-pool", "edge", "metallb.universe.tf/allow-shared-ip", "key",
				"metallb.universe.tf/loadBalancerIPs", "192.168.1.161"),
			want: Service{Pool: "edge", SharingKey: "key", Addrs: addrs("192.168.1.161")},
		},
		{
			name: "the newer prefix wins",
			in: annotated("metallb.io/address-pool", "new", "metallb.universe.tf/address-pool", "old",
				"metallb.io/loadBalancerIPs", "192.168.1.161", "metallb.universe.tf/loadBalancerIPs", "192.168.1.162"),
			want: Service{Pool: "new", Addrs: addrs("192.168.1.161")},
		},
		{
			name: "the newer prefix wins even if empty",
			in:   annotated("metallb.io/allow-shared-ip", "", "metallb.universe.tf/allow-shared-ip", "old"),
		},
		{
			name: "reallocate is true only as true",
			in:   annotated("invar.io/reallocate", "yes"),
		},
		{
			name: "one family, both required",
			in: &corev1.Service{Spec: corev1.ServiceSpec{
				IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}, IPFamilyPolicy: &require,
			}},
			want: Service{IPv4: true, IPv6: true},
		},
		{
			name: "an IPv4-mapped address is the IPv4 address",
			in: &corev1.Service{Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{
				Ingress: []corev1.LoadBalancerIngress{{IP: "::ffff:192.168.1.160"}, {IP: "192.168.1.160"}, {IP: "fe80::1%eth0"}},
			}}},
			want: Service{Ingress: addrs("192.168.1.160")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, ServiceOf(tt.in), equate); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequestedAddresses(t *testing.T) {
	tests := []struct {
		name        string
		list, field string // annotation loadBalancerIPs and spec.loadBalancerIP
		want        []netip.Addr
		err         string
	}{
		{name: "none"},
		{name: "field", field: "192.168.1.160", want: addrs("192.168.1.160")},
		{name: "field, IPv6", field: "2001:DB8::1", want: addrs("2001:db8::1")},
		{name: "field is no address", field: "192.168.1.", err: `spec.loadBalancerIP: "192.168.1." is not an IP address`},
		{name: "field with a zone", field: "fe80::1%eth0", err: `spec.loadBalancerIP: "fe80::1%eth0" is not an IP address`},
		{
			name: "field is a list", field: "192.168.1.160,192.168.1.161",
			err: `spec.loadBalancerIP: "192.168.1.160,192.168.1.161" is not an IP address`,
		},
		{name: "list of one", list: "192.168.1.160", want: addrs("192.168.1.160")},
		{name: "list with spaces", list: " 192.168.1.160 , 2001:db8::1 ", want: addrs("192.168.1.160", "2001:db8::1")},
		{name: "list, IPv6 first", list: "2001:db8::1,192.168.1.160", want: addrs("2001:db8::1", "192.168.1.160")},
		{name: "list with a comma too many", list: "192.168.1.160,", err: `annotation loadBalancerIPs: "" is not an IP address`},
		{name: "list is a prefix", list: "192.168.1.160/32", err: `annotation loadBalancerIPs: "192.168.1.160/32" is not an IP address`},
		{
			name: "list with a family twice", list: "192.168.1.160,192.168.1.161",
			err: `annotation loadBalancerIPs: "192.168.1.160,192.168.1.161": want one address, or one of each family`,
		},
		{
			name: "list with a family twice, once mapped", list: "192.168.1.160,::ffff:192.168.1.161",
			err: `annotation loadBalancerIPs: "192.168.1.160,::ffff:192.168.1.161": want one address, or one of each family`,
		},
		{
			name: "list of three", list: "192.168.1.160,2001:db8::1,2001:db8::2",
			err: `annotation loadBalancerIPs: "192.168.1.160,2001:db8::1,2001:db8::2": want one address, or one of each family`,
		},
		{
			name: "both", list: "192.168.1.160", field: "192.168.1.160",
			err: "both spec.loadBalancerIP and annotation loadBalancerIPs are set: only one of them may be",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := annotated("metallb.io/loadBalancerIPs", tt.list)
			s.Spec.LoadBalancerIP = tt.field
			got := ServiceOf(s)
			if diff := cmp.Diff(tt.want, got.Addrs, equate); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			text := ""
			if got.AddrsErr != nil {
				text = got.AddrsErr.Error()
			}
			if diff := cmp.Diff(tt.err, text); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}
