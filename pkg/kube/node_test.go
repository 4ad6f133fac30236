package kube

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube/api/apitest"
)

func TestNodeOf(t *testing.T) {
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus) corev1.NodeStatus {
		return corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionFalse}, {Type: kind, Status: status},
		}}
	}
	exclude := map[string]string{corev1.LabelNodeExcludeBalancers: ""}
	tests := []struct {
		name   string
		labels map[string]string
		status corev1.NodeStatus
		want   Node
	}{
		{name: "bare", want: Node{Name: "node1"}},
		{
			name: "labels", labels: map[string]string{"zone": "a"},
			want: Node{Name: "node1", Labels: map[string]string{"zone": "a"}},
		},
		{name: "excluded", labels: exclude, want: Node{Name: "node1", Labels: exclude, Excluded: true}},
		{
			name: "excluded, whatever the value", labels: map[string]string{corev1.LabelNodeExcludeBalancers: "false"},
			want: Node{Name: "node1", Labels: map[string]string{corev1.LabelNodeExcludeBalancers: "false"}, Excluded: true},
		},
		{
			name: "no network", status: condition(corev1.NodeNetworkUnavailable, corev1.ConditionTrue),
			want: Node{Name: "node1", NetworkUnavailable: true},
		},
		{name: "network", status: condition(corev1.NodeNetworkUnavailable, corev1.ConditionFalse), want: Node{Name: "node1"}},
		{
			name: "network unknown", status: condition(corev1.NodeNetworkUnavailable, corev1.ConditionUnknown),
			want: Node{Name: "node1"},
		},
		{name: "another trouble", status: condition(corev1.NodeDiskPressure, corev1.ConditionTrue), want: Node{Name: "node1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := NodeOf(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1", Labels: tt.labels}, Status: tt.status})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// slice returns an EndpointSlice of a Service in namespace default.
func slice(name, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		Endpoints: endpoints,
	}
}

// fill puts objects into the store of an informer that doesn't run.
func fill[T any](t *testing.T, inf cache.SharedIndexInformer, objs ...T) cache.SharedIndexInformer {
	t.Helper()
	for _, obj := range objs {
		if err := inf.GetStore().Add(obj); err != nil {
			t.Fatal(err)
		}
	}
	return inf
}

func TestServingOf(t *testing.T) {
	yes, no, node1, node2 := true, false, "node1", "node2"
	at := func(node *string, ready, serving, terminating *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{NodeName: node, Conditions: discoveryv1.EndpointConditions{
			Ready: ready, Serving: serving, Terminating: terminating,
		}}
	}
	tests := []struct {
		name   string
		slices []*discoveryv1.EndpointSlice
		want   Serving
	}{
		{name: "no slice", want: Serving{}},
		{
			name: "no endpoint", slices: []*discoveryv1.EndpointSlice{slice("a", "echo")},
			want: Serving{},
		},
		{
			name: "ready", slices: []*discoveryv1.EndpointSlice{slice("a", "echo", at(&node1, &yes, &yes, &no))},
			want: Serving{Any: true, Nodes: map[string]bool{"node1": true}},
		},
		{
			name:   "ready, of an API server that does not tell more",
			slices: []*discoveryv1.EndpointSlice{slice("a", "echo", at(&node1, &yes, nil, nil))},
			want:   Serving{Any: true, Nodes: map[string]bool{"node1": true}},
		},
		{
			name: "nothing is known", slices: []*discoveryv1.EndpointSlice{slice("a", "echo", at(&node1, nil, nil, nil))},
			want: Serving{Any: true, Nodes: map[string]bool{"node1": true}},
		},
		{
			name:   "not ready",
			slices: []*discoveryv1.EndpointSlice{slice("a", "echo", at(&node1, &no, &no, &no), at(&node2, &no, nil, nil))},
			want:   Serving{},
		},
		{
			name:   "terminating but serving",
			slices: []*discoveryv1.EndpointSlice{slice("a", "echo", at(&node1, &no, &yes, &yes))},
			want:   Serving{Any: true, Nodes: map[string]bool{"node1": true}},
		},
		{
			name: "terminating", slices: []*discoveryv1.EndpointSlice{slice("a", "echo", at(&node1, &no, &no, &yes))},
			want: Serving{},
		},
		{
			name: "on no node", slices: []*discoveryv1.EndpointSlice{slice("a", "echo", at(nil, &yes, &yes, &no))},
			want: Serving{Any: true},
		},
		{
			name: "two slices", slices: []*discoveryv1.EndpointSlice{
				slice("a", "echo", at(&node1, &yes, &yes, &no)),
				slice("b", "echo", at(&node2, &yes, &yes, &no), at(&node1, &no, &no, &no)),
			},
			want: Serving{Any: true, Nodes: map[string]bool{"node1": true, "node2": true}},
		},
		{
			name: "of another Service", slices: []*discoveryv1.EndpointSlice{
				slice("a", "other", at(&node1, &yes, &yes, &no)), slice("b", "", at(&node1, &yes, &yes, &no)),
			},
			want: Serving{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			service := cache.NewObjectName("default", "echo")
			whole := fill(t, EndpointSlices(apitest.NewClient()), tt.slices...)
			if diff := cmp.Diff(tt.want, ServingOf(whole, service, ServingIn)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			client := fake.NewClientset()
			for _, s := range tt.slices {
				if err := client.Tracker().Add(s.DeepCopy()); err != nil {
					t.Fatal(err)
				}
			}
			kept := EndpointSlices(apitest.Client{Fake: client})
			if err := Start(t.Context(), kept); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, ServingOf(kept, service, ServingIn)); diff != "" {
				t.Errorf("of what is kept (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	no := false
	at := func(addresses ...string) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{Addresses: addresses, Conditions: discoveryv1.EndpointConditions{Ready: &no}}
	}
	tests := []struct {
		name   string
		slices []*discoveryv1.EndpointSlice
		want   []netip.Addr
	}{
		{name: "none"},
		{
			name: "sorted, once each, ready or not",
			slices: []*discoveryv1.EndpointSlice{
				slice("a", "speaker", at("10.0.0.3"), at("10.0.0.1")), slice("b", "speaker", at("10.0.0.1"), at("2001:db8::1")),
			},
			want: addrs("10.0.0.1", "10.0.0.3", "2001:db8::1"),
		},
		{
			name:   "names of type FQDN are passed over",
			slices: []*discoveryv1.EndpointSlice{slice("a", "speaker", at("node1.example.org"), at(), at("10.0.0.1"))},
			want:   addrs("10.0.0.1"),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inf := fill(t, ServiceSlices(apitest.NewClient(), "default", "speaker"), tt.slices...)
			if diff := cmp.Diff(tt.want, Addresses(inf), equate); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestKept is about what an informer keeps of an EndpointSlice: there are many.
func TestKept(t *testing.T) {
	yes, no, node1, node2, port := true, false, "node1", "node2", int32(80)
	meta := metav1.ObjectMeta{
		Namespace: "default", Name: "echo-1", UID: "1", Labels: map[string]string{discoveryv1.LabelServiceName: "echo"},
	}
	whole := &discoveryv1.EndpointSlice{
		ObjectMeta: meta,
		Ports:      []discoveryv1.EndpointPort{{Port: &port}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.2"}, NodeName: &node2, TargetRef: &corev1.ObjectReference{Name: "b"}},
			{Addresses: []string{"10.0.0.1"}, NodeName: &node1, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			{Addresses: []string{"10.0.0.3"}, NodeName: &node1, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
			{Addresses: []string{"10.0.0.4"}, NodeName: new("node3"), Conditions: discoveryv1.EndpointConditions{Ready: &no}},
		},
	}
	whole.GenerateName, whole.Annotations = "echo-", map[string]string{"a": "b"}
	whole.Labels = map[string]string{discoveryv1.LabelServiceName: "echo", discoveryv1.LabelManagedBy: "somebody"}
	inf := EndpointSlices(apitest.Client{Fake: fake.NewClientset(whole)})
	if err := Start(t.Context(), inf); err != nil {
		t.Fatal(err)
	}
	want := &discoveryv1.EndpointSlice{ObjectMeta: meta, Endpoints: []discoveryv1.Endpoint{{NodeName: &node1}, {NodeName: &node2}}}
	got := Get[discoveryv1.EndpointSlice](inf, cache.NewObjectName("default", "echo-1"))
	ignore := cmpopts.IgnoreFields(metav1.ObjectMeta{}, "ResourceVersion")
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
