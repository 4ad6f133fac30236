package speaker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api/apitest"
)

// TestFollow changes what the API server has and sees whether the speaker looks at everything again.
func TestFollow(t *testing.T) {
	svc := object("echo", corev1.ServiceTypeLoadBalancer)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
	slice := endpoints("echo", "node1")
	other := endpoints("other", "node1") // its Service is of another type, so no informer has it
	steps := []struct {
		name   string
		change func()
		object runtime.Object
		kicks  bool
	}{
		{"kubelet reports", func() { node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady}} }, node, false},
		{"node is excluded", func() { node.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""} }, node, true},
		{"condition is written", func() { svc.Status.Conditions = []metav1.Condition{{Type: kube.ConditionAnnounced}} }, svc, false},
		{"address is given", func() { svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}} }, svc, true},
		{"pod of ours is replaced on its node", func() { slice.Endpoints[0].Addresses = []string{"10.0.0.2"} }, slice, false},
		{"pod of ours moves", func() { slice.Endpoints[0].NodeName = new("node2") }, slice, true},
		{"pod of another moves", func() { other.Endpoints[0].NodeName = new("node2") }, other, false},
	}
	synctest.Test(t, func(t *testing.T) {
		client := apitest.Client{Fake: fake.NewClientset(svc.DeepCopy(), node.DeepCopy(), slice.DeepCopy(), other.DeepCopy())}
		s := New(Config{Client: client, Metrics: newSpeaker(t).cfg.Metrics, Namespace: "metallb-system", BindAddr: addr("127.0.0.1")})
		if err := s.follow(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		informers := []cache.SharedIndexInformer{s.services, s.slices, s.nodes, s.configMap, s.secret, s.peerSlices}
		if err := kube.Start(ctx, informers...); err != nil {
			t.Fatal(err)
		}
		kicked := func() bool {
			synctest.Wait()
			select {
			case <-s.news:
				return true
			default:
				return false
			}
		}
		if !kicked() {
			t.Error("not kicked by what there is")
		}
		for _, step := range steps {
			step.change()
			update(t, client.Fake, step.object)
			if got := kicked(); got != step.kicks {
				t.Errorf("%s: kicked is %t, want %t", step.name, got, step.kicks)
			}
		}
		cancel()
		synctest.Wait()
	})
}

// endpoints returns the EndpointSlice of a Service with one pod.
func endpoints(service, node string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, NodeName: &node}},
	}
}

func update(t *testing.T, client *fake.Clientset, obj runtime.Object) {
	t.Helper()
	var err error
	switch obj := obj.DeepCopyObject().(type) {
	case *corev1.Service:
		_, err = client.CoreV1().Services(obj.Namespace).Update(t.Context(), obj, metav1.UpdateOptions{})
	case *corev1.Node:
		_, err = client.CoreV1().Nodes().Update(t.Context(), obj, metav1.UpdateOptions{})
	case *discoveryv1.EndpointSlice:
		_, err = client.DiscoveryV1().EndpointSlices(obj.Namespace).Update(t.Context(), obj, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestNewsWait hears news at several moments, after a look.
func TestNewsWait(t *testing.T) {
	begin := time.Unix(1000, 0)
	for _, tt := range []struct {
		name    string
		took    time.Duration // the look
		after   time.Duration // its end, news come
		again   time.Duration // after its end, when it wants to look anyway; 0: it does not
		now     bool
		planned time.Duration // after its end, when it will look
	}{
		{name: "short look", took: time.Millisecond, after: 10 * time.Millisecond, now: true},
		{name: "short look, at once", took: time.Millisecond, after: time.Millisecond, planned: 10 * time.Millisecond},
		{name: "long look", took: 100 * time.Millisecond, after: 200 * time.Millisecond, planned: newsWait},
		{name: "long look, later", took: 100 * time.Millisecond, after: newsWait, now: true},
		{name: "sooner anyway", took: 100 * time.Millisecond, again: 50 * time.Millisecond, planned: 50 * time.Millisecond},
		{name: "later anyway", took: 100 * time.Millisecond, again: time.Second, planned: newsWait},
	} {
		s := &Speaker{}
		end := begin.Add(tt.took)
		s.looked(begin, end)
		if tt.again > 0 {
			s.again = end.Add(tt.again)
		}
		now := s.hear(end.Add(tt.after))
		var want time.Time
		if !tt.now {
			want = end.Add(tt.planned)
		}
		if now != tt.now || !s.again.Equal(want) {
			t.Errorf("%s: looks now is %t and later at %v, want %t and %v", tt.name, now, s.again, tt.now, want)
		}
	}
}
