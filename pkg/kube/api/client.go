package api

import (
	"context"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/gentype"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
)

// Client gives access to the few types of objects that the daemons use. The clientset of client-go has all of Kubernetes' API
// with it, which is half of a speaker's memory. An empty namespace means all.
type Client interface {
	Services(namespace string) Resource[*corev1.Service, *corev1.ServiceList]
	ConfigMaps(namespace string) Resource[*corev1.ConfigMap, *corev1.ConfigMapList]
	Secrets(namespace string) Resource[*corev1.Secret, *corev1.SecretList]
	Events(namespace string) Resource[*corev1.Event, *corev1.EventList]
	EndpointSlices(namespace string) Resource[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList]
	Namespaces() Resource[*corev1.Namespace, *corev1.NamespaceList]
	Nodes() Resource[*corev1.Node, *corev1.NodeList]
}

// Resource is access to the objects of one type. Its methods are those of client-go's typed clients.
type Resource[T, L runtime.Object] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
	List(ctx context.Context, opts metav1.ListOptions) (L, error)
	Watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error)
	Create(ctx context.Context, obj T, opts metav1.CreateOptions) (T, error)
	Update(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (T, error)
}

// RESTConfig says how to reach the API server: with the given kubeconfig, or as the pod's service account if it is empty.
func RESTConfig(kubeconfig, userAgent string) (cfg *rest.Config, err error) {
	if kubeconfig == "" {
		cfg, err = rest.InClusterConfig()
	} else {
		cfg, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("configure Kubernetes client: %w", err)
	}
	cfg.UserAgent = userAgent
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	// The API server's priority and fairness does the limiting. The client's own limit of 5 requests a second would
	// make a thousand new Services wait for minutes.
	cfg.QPS = -1
	return cfg, nil
}

// client is the Client of an API server.
type client struct {
	core, discovery rest.Interface
	params          runtime.ParameterCodec
}

// scheme returns the types that a Client knows.
func scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("create Kubernetes client: %w", err)
		}
	}
	return s, nil
}

// NewClient returns the Client of an API server.
func NewClient(cfg *rest.Config) (Client, error) {
	s, err := scheme()
	if err != nil {
		return nil, err
	}
	codecs := serializer.NewCodecFactory(s).WithoutConversion()
	connections, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("create Kubernetes client: %w", err)
	}
	group := func(apiPath string, gv schema.GroupVersion) (rest.Interface, error) {
		cfg := rest.CopyConfig(cfg)
		cfg.APIPath, cfg.GroupVersion, cfg.NegotiatedSerializer = apiPath, &gv, codecs
		c, err := rest.RESTClientForConfigAndClient(cfg, connections)
		if err != nil {
			return nil, fmt.Errorf("create Kubernetes client for %s: %w", gv, err)
		}
		return c, nil
	}
	c := client{params: runtime.NewParameterCodec(s)}
	if c.core, err = group("/api", corev1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	if c.discovery, err = group("/apis", discoveryv1.SchemeGroupVersion); err != nil {
		return nil, err
	}
	return c, nil
}

func (c client) Services(namespace string) Resource[*corev1.Service, *corev1.ServiceList] {
	return resource[corev1.Service, corev1.ServiceList](c.core, "services", namespace, c.params)
}

func (c client) ConfigMaps(namespace string) Resource[*corev1.ConfigMap, *corev1.ConfigMapList] {
	return resource[corev1.ConfigMap, corev1.ConfigMapList](c.core, "configmaps", namespace, c.params)
}

func (c client) Secrets(namespace string) Resource[*corev1.Secret, *corev1.SecretList] {
	return resource[corev1.Secret, corev1.SecretList](c.core, "secrets", namespace, c.params)
}

func (c client) Events(namespace string) Resource[*corev1.Event, *corev1.EventList] {
	return resource[corev1.Event, corev1.EventList](c.core, "events", namespace, c.params)
}

func (c client) EndpointSlices(namespace string) Resource[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList] {
	return resource[discoveryv1.EndpointSlice, discoveryv1.EndpointSliceList](c.discovery, "endpointslices", namespace, c.params)
}

func (c client) Namespaces() Resource[*corev1.Namespace, *corev1.NamespaceList] {
	return resource[corev1.Namespace, corev1.NamespaceList](c.core, "namespaces", "", c.params)
}

func (c client) Nodes() Resource[*corev1.Node, *corev1.NodeList] {
	return resource[corev1.Node, corev1.NodeList](c.core, "nodes", "", c.params)
}

// object and list are the pointers to T and L.
type (
	object[T any] interface {
		*T
		runtime.Object
		metav1.Object
	}
	list[L any] interface {
		*L
		runtime.Object
	}
)

func resource[T, L any, PT object[T], PL list[L]](
	c rest.Interface, name, namespace string, params runtime.ParameterCodec,
) Resource[PT, PL] {
	return gentype.NewClientWithList[PT, PL](name, c, params, namespace,
		func() PT { return new(T) }, func() PL { return new(L) }, gentype.PrefersProtobuf[PT]())
}

// NewRecorder returns a recorder that writes Events as the given component, and the function that flushes and stops it.
func NewRecorder(client Client, component string, logger *slog.Logger) (record.EventRecorder, func(), error) {
	s, err := scheme()
	if err != nil {
		return nil, nil, err
	}
	b := record.NewBroadcaster()
	b.StartEventWatcher(func(e *corev1.Event) {
		logger.Info("event", "reason", e.Reason, "kind", e.InvolvedObject.Kind,
			"namespace", e.InvolvedObject.Namespace, "name", e.InvolvedObject.Name, "message", e.Message)
	})
	b.StartRecordingToSink(eventSink{client})
	return b.NewRecorder(s, corev1.EventSource{Component: component}), b.Shutdown, nil
}

// eventSink writes Events to the API server.
type eventSink struct{ client Client }

func (s eventSink) Create(e *corev1.Event) (*corev1.Event, error) {
	return s.client.Events(e.Namespace).Create(context.Background(), e, metav1.CreateOptions{})
}

func (s eventSink) Update(e *corev1.Event) (*corev1.Event, error) {
	return s.client.Events(e.Namespace).Update(context.Background(), e, metav1.UpdateOptions{})
}

func (s eventSink) Patch(old *corev1.Event, data []byte) (*corev1.Event, error) {
	return s.client.Events(old.Namespace).Patch(context.Background(), old.Name, types.StrategicMergePatchType, data,
		metav1.PatchOptions{})
}
