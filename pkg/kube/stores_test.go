package kube_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api/apitest"
)

func stores(objs ...runtime.Object) kube.Stores {
	client := apitest.Client{Fake: fake.NewClientset(objs...)}
	return kube.Stores{
		"services": kube.Services(client), "endpoints": kube.EndpointSlices(client), "nodes": kube.Nodes(client),
		"config": kube.ConfigMap(client, "metallb-system", "config"), "secret": kube.Secret(client, "metallb-system", "memberlist"),
	}
}

// TestStores saves what informers hold and loads it into others, which then hear what has changed meanwhile.
func TestStores(t *testing.T) {
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	lb := corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta("default", "web-1")}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "web"}
	other := slice.DeepCopy()
	other.Name, other.Labels[discoveryv1.LabelServiceName] = "other-1", "other"
	first := stores(
		&corev1.Service{ObjectMeta: meta("default", "web"), Spec: lb}, &corev1.Service{ObjectMeta: meta("default", "old"), Spec: lb},
		slice, other,
		&corev1.Node{ObjectMeta: meta("", "node1")},
		&corev1.ConfigMap{ObjectMeta: meta("metallb-system", "config"), Data: map[string]string{"config": "x"}},
		&corev1.Secret{ObjectMeta: meta("metallb-system", "memberlist"), Data: map[string][]byte{kube.SecretKey: []byte("s")}})
	for _, inf := range first {
		if err := kube.Start(t.Context(), inf); err != nil {
			t.Fatal(err)
		}
	}
	text, err := first.Save(func(obj any) bool {
		name, ok := kube.ServiceName(obj)
		return !ok || name.Name == "web"
	})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := first.Save(func(any) bool { return true }); cmp.Equal(text, again) {
		t.Error("keep has no effect")
	}

	second := stores(&corev1.Service{ObjectMeta: meta("default", "web"), Spec: lb})
	if err := second.Load(text); err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for name, inf := range second {
		got[name] = inf.GetStore().ListKeys()
		slices.Sort(got[name])
	}
	want := map[string][]string{
		"services": {"default/old", "default/web"}, "endpoints": {"default/web-1"}, "nodes": {"node1"},
		"config": {"metallb-system/config"}, "secret": {"metallb-system/memberlist"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	if got := kube.SecretText(second["secret"], cache.NewObjectName("metallb-system", "memberlist")); string(got) != "s" {
		t.Errorf("the Secret says %q", got)
	}

	gone := make(chan string, 10)
	if _, err := second["services"].AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(obj any) {
		name, _ := cache.DeletionHandlingObjectToName(obj)
		gone <- name.String()
	}}); err != nil {
		t.Fatal(err)
	}
	if err := kube.Start(t.Context(), second["services"]); err != nil {
		t.Fatal(err)
	}
	select {
	case name := <-gone:
		if name != "default/old" {
			t.Errorf("%s is gone, want default/old", name)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody noticed within 10 s that a Service had been deleted meanwhile")
	}
}

func TestStoresLoadErrors(t *testing.T) {
	for _, text := range []string{"", "{", `{"services":{"services":[{"metadata":5}]}}`} {
		if err := stores().Load([]byte(text)); err == nil {
			t.Errorf("%q is loaded", text)
		}
	}
	if err := stores().Load([]byte(`{"of a later version":{"things":[1]}}`)); err != nil {
		t.Error(err)
	}
}
