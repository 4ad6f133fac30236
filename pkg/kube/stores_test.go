package kube_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
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
	var text, all bytes.Buffer
	if err := first.Save(&text, func(obj any) bool {
		name, ok := kube.ServiceName(obj)
		return !ok || name.Name == "web"
	}); err != nil {
		t.Fatal(err)
	}
	if err := first.Save(&all, func(any) bool { return true }); err != nil || cmp.Equal(text.Bytes(), all.Bytes()) {
		t.Errorf("keep has no effect: %v", err)
	}

	second := stores(&corev1.Service{ObjectMeta: meta("default", "web"), Spec: lb})
	if err := second.Load(json.NewDecoder(&text)); err != nil {
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
	load := func(s kube.Stores, text string) error { return s.Load(json.NewDecoder(strings.NewReader(text))) }
	service := `{"store":"services","service":{"metadata":{"name":"web"}}}`
	for _, text := range []string{
		"", "{", `{"store":"services","service":{"metadata":5}}`, service, service + `{"count":2}`, service + service + `{"count":1}`,
	} {
		s := stores()
		if err := load(s, text); err == nil || len(s["services"].GetStore().ListKeys()) > 0 {
			t.Errorf("%q is loaded: %v", text, err)
		}
	}
	if err := load(stores(), `{"store":"of a later version","thing":1}{"store":"services","thing":1}{"count":2}`); err != nil {
		t.Error(err)
	}
}
