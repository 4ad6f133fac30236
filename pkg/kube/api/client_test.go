package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// request is what a client sends.
type request struct {
	Method, URI, ContentType, Accept, UserAgent string
	Body                                        []byte
}

// server answers every request with the same object, in protobuf as the API server does, and keeps the requests.
type server struct {
	*httptest.Server
	requests []request
}

func newServer(t *testing.T, code int, answer runtime.Object) *server {
	t.Helper()
	s, err := scheme()
	if err != nil {
		t.Fatal(err)
	}
	body, err := runtime.Encode(protobuf.NewSerializer(s, s), answer)
	if err != nil {
		t.Fatal(err)
	}
	srv := &server{}
	srv.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		srv.requests = append(srv.requests, request{
			r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Accept"), r.UserAgent(), sent,
		})
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		w.WriteHeader(code)
		if _, err := w.Write(body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func (s *server) config() *rest.Config {
	return &rest.Config{Host: s.URL, UserAgent: "test", ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeProtobuf}}
}

// A call is made with both clients, which have the same methods under different types.
type call[T, L runtime.Object] struct {
	name string
	do   func(context.Context, Resource[T, L]) (any, error)
}

// calls are one of each method, with every option that the daemons use.
func calls[T, L runtime.Object](obj T) []call[T, L] {
	list := metav1.ListOptions{
		LabelSelector: "a=b,!c", FieldSelector: "metadata.name=config", ResourceVersion: "7",
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, Limit: 500, Continue: "more",
	}
	seconds := int64(300)
	return []call[T, L]{
		{"get", func(ctx context.Context, r Resource[T, L]) (any, error) { return r.Get(ctx, "x", metav1.GetOptions{}) }},
		{"list", func(ctx context.Context, r Resource[T, L]) (any, error) { return r.List(ctx, list) }},
		{"watch", func(ctx context.Context, r Resource[T, L]) (any, error) {
			w, err := r.Watch(ctx, metav1.ListOptions{AllowWatchBookmarks: true, ResourceVersion: "7", TimeoutSeconds: &seconds})
			if err == nil {
				w.Stop()
			}
			return watch.Interface(nil), err
		}},
		{"create", func(ctx context.Context, r Resource[T, L]) (any, error) {
			return r.Create(ctx, obj, metav1.CreateOptions{})
		}},
		{"update", func(ctx context.Context, r Resource[T, L]) (any, error) {
			return r.Update(ctx, obj, metav1.UpdateOptions{})
		}},
		{"patch", func(ctx context.Context, r Resource[T, L]) (any, error) {
			return r.Patch(ctx, "x", types.MergePatchType, []byte(`{"a":1}`), metav1.PatchOptions{}, "status")
		}},
	}
}

// same makes each call with both clients and compares what they sent and what they returned.
func same[T, L runtime.Object](t *testing.T, kind string, obj T, answer runtime.Object,
	ours func(Client) Resource[T, L], theirs func(kubernetes.Interface) Resource[T, L],
) {
	for _, c := range calls[T, L](obj) {
		t.Run(kind+"/"+c.name, func(t *testing.T) {
			srv := newServer(t, http.StatusOK, answer)
			mine, err := NewClient(srv.config())
			if err != nil {
				t.Fatal(err)
			}
			set, err := kubernetes.NewForConfig(srv.config())
			if err != nil {
				t.Fatal(err)
			}
			got, gotErr := c.do(t.Context(), ours(mine))
			want, wantErr := c.do(t.Context(), theirs(set))
			if diff := cmp.Diff(fmt.Sprint(wantErr), fmt.Sprint(gotErr)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("returned (-want +got):\n%s", diff)
			}
			if len(srv.requests) != 2 {
				t.Fatalf("%d requests were sent, want one by each client", len(srv.requests))
			}
			if diff := cmp.Diff(srv.requests[1], srv.requests[0]); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
		})
	}
}

// TestClient compares the Client with client-go's clientset, which it stands for.
func TestClient(t *testing.T) {
	meta := metav1.ObjectMeta{Namespace: "ns", Name: "x", Labels: map[string]string{"a": "b"}}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
	same(t, "services", service, service,
		func(c Client) Resource[*corev1.Service, *corev1.ServiceList] { return c.Services("ns") },
		func(c kubernetes.Interface) Resource[*corev1.Service, *corev1.ServiceList] {
			return c.CoreV1().Services("ns")
		})
	cm := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"config": "text"}}
	same(t, "configmaps", cm, cm,
		func(c Client) Resource[*corev1.ConfigMap, *corev1.ConfigMapList] { return c.ConfigMaps("ns") },
		func(c kubernetes.Interface) Resource[*corev1.ConfigMap, *corev1.ConfigMapList] {
			return c.CoreV1().ConfigMaps("ns")
		})
	secret := &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"secretkey": {0, 1, 255}}}
	same(t, "secrets", secret, secret,
		func(c Client) Resource[*corev1.Secret, *corev1.SecretList] { return c.Secrets("ns") },
		func(c kubernetes.Interface) Resource[*corev1.Secret, *corev1.SecretList] {
			return c.CoreV1().Secrets("ns")
		})
	event := &corev1.Event{ObjectMeta: meta, Reason: "IPAllocated"}
	same(t, "events", event, event,
		func(c Client) Resource[*corev1.Event, *corev1.EventList] { return c.Events("ns") },
		func(c kubernetes.Interface) Resource[*corev1.Event, *corev1.EventList] {
			return c.CoreV1().Events("ns")
		})
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4}
	same(t, "endpointslices", slice, slice,
		func(c Client) Resource[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList] {
			return c.EndpointSlices("ns")
		},
		func(c kubernetes.Interface) Resource[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList] {
			return c.DiscoveryV1().EndpointSlices("ns")
		})
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	same(t, "namespaces", ns, ns, Client.Namespaces,
		func(c kubernetes.Interface) Resource[*corev1.Namespace, *corev1.NamespaceList] {
			return c.CoreV1().Namespaces()
		})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "x"}}
	same(t, "nodes", node, node, Client.Nodes,
		func(c kubernetes.Interface) Resource[*corev1.Node, *corev1.NodeList] { return c.CoreV1().Nodes() })
}

// TestClientRefused has the API server say no: callers ask apierrors for the reason.
func TestClientRefused(t *testing.T) {
	refused := apierrors.NewForbidden(corev1.Resource("secrets"), "x", nil).Status()
	srv := newServer(t, http.StatusForbidden, &refused)
	c, err := NewClient(srv.config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Secrets("ns").Get(t.Context(), "x", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("error is %v, want one that says forbidden", err)
	}
}
