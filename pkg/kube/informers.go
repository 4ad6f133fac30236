package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/kube/api"
)

// OnlyLoadBalancers is the field selector that makes the API server send Services of type LoadBalancer alone. One that leaves the type is reported
// as deleted.
var OnlyLoadBalancers = fields.OneTermEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)).String()

// noResync: informers repeat nothing by themselves, since every state that matters is rebuilt from what they hold.
const noResync = time.Duration(0)

// informer watches the objects of one type that the selection leaves. cut may be nil: see slim.
func informer[T, L runtime.Object](client api.Client, objects api.Resource[T, L], example T, indexers cache.Indexers,
	selection func(*metav1.ListOptions), cut func(obj any),
) cache.SharedIndexInformer {
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			selection(&o)
			return objects.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			selection(&o)
			return objects.Watch(ctx, o)
		},
	}, client)
	return slim(cache.NewSharedIndexInformer(lw, example, noResync, indexers), cut)
}

func everything(*metav1.ListOptions) {}

// Services watches the Services of type LoadBalancer of all namespaces.
func Services(client api.Client) cache.SharedIndexInformer {
	return informer(client, client.Services(metav1.NamespaceAll), &corev1.Service{}, cache.Indexers{},
		func(o *metav1.ListOptions) { o.FieldSelector = OnlyLoadBalancers }, nil)
}

// ConfigMap watches one ConfigMap.
func ConfigMap(client api.Client, namespace, name string) cache.SharedIndexInformer {
	return informer(client, client.ConfigMaps(namespace), &corev1.ConfigMap{}, cache.Indexers{}, named(name), nil)
}

// Secret watches one Secret.
func Secret(client api.Client, namespace, name string) cache.SharedIndexInformer {
	return informer(client, client.Secrets(namespace), &corev1.Secret{}, cache.Indexers{}, named(name), nil)
}

// Namespaces watches the namespaces, of which only the labels are kept.
func Namespaces(client api.Client) cache.SharedIndexInformer {
	return informer(client, client.Namespaces(), &corev1.Namespace{}, cache.Indexers{}, everything, func(obj any) {
		if ns, ok := obj.(*corev1.Namespace); ok {
			ns.Annotations, ns.Spec, ns.Status = nil, corev1.NamespaceSpec{}, corev1.NamespaceStatus{}
		}
	})
}

// Nodes watches the nodes, of which only labels and conditions are kept.
func Nodes(client api.Client) cache.SharedIndexInformer {
	return informer(client, client.Nodes(), &corev1.Node{}, cache.Indexers{}, everything, func(obj any) {
		if n, ok := obj.(*corev1.Node); ok {
			n.Annotations, n.Spec = nil, corev1.NodeSpec{}
			n.Status = corev1.NodeStatus{Conditions: n.Status.Conditions}
		}
	})
}

// byService indexes EndpointSlices by the Service that they belong to.
const byService = "service"

// EndpointSlices watches the EndpointSlices of Services that have a cluster IP: headless ones can't be of type
// LoadBalancer. The API server can't tell which belong to Services of that type, so all of them come. What is kept is no more than
// where there are endpoints that take traffic: each such node once.
func EndpointSlices(client api.Client) cache.SharedIndexInformer {
	return endpointSlices(client, metav1.NamespaceAll, "!"+corev1.IsHeadlessService, func(s *discoveryv1.EndpointSlice) {
		serving := ServingIn(s)
		s.Endpoints = nil
		for _, node := range slices.Sorted(maps.Keys(serving.Nodes)) {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &node})
		}
		if serving.Any && s.Endpoints == nil { // on no node
			s.Endpoints = []discoveryv1.Endpoint{{}}
		}
		s.ObjectMeta = metav1.ObjectMeta{
			Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
			Labels: map[string]string{discoveryv1.LabelServiceName: s.Labels[discoveryv1.LabelServiceName]},
		}
	})
}

// SpeakerService is the headless Service through whose endpoints the speakers are found.
const SpeakerService = "speaker"

// ServiceSlices watches the EndpointSlices of one Service, headless or not. Of each endpoint its addresses, conditions and node are
// kept.
func ServiceSlices(client api.Client, namespace, service string) cache.SharedIndexInformer {
	return endpointSlices(client, namespace, discoveryv1.LabelServiceName+"="+service, func(s *discoveryv1.EndpointSlice) {
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			*e = discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, NodeName: e.NodeName}
		}
	})
}

func endpointSlices(client api.Client, namespace, selector string, cut func(*discoveryv1.EndpointSlice)) cache.SharedIndexInformer {
	indexers := cache.Indexers{byService: func(obj any) ([]string, error) {
		s, ok := obj.(*discoveryv1.EndpointSlice)
		if !ok {
			return nil, fmt.Errorf("index EndpointSlice: got %T", obj)
		}
		return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
	}}
	return informer(client, client.EndpointSlices(namespace), &discoveryv1.EndpointSlice{}, indexers,
		func(o *metav1.ListOptions) { o.LabelSelector = selector }, func(obj any) {
			if s, ok := obj.(*discoveryv1.EndpointSlice); ok {
				s.Annotations, s.Ports = nil, nil
				cut(s)
			}
		})
}

func named(name string) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	}
}

// slim makes the informer drop what nobody reads before it is stored: managedFields, and what cut removes.
func slim(inf cache.SharedIndexInformer, cut func(obj any)) cache.SharedIndexInformer {
	err := inf.SetTransform(func(obj any) (any, error) {
		if m, err := meta.Accessor(obj); err == nil {
			m.SetManagedFields(nil)
		}
		if cut != nil {
			cut(obj)
		}
		return obj, nil
	})
	if err != nil {
		panic("kube: transform set on a running informer: " + err.Error())
	}
	return inf
}

// OnEvent calls f with the name of each object that is added, changed or deleted, beginning with all that are there,
// until remove is called.
func OnEvent(inf cache.SharedIndexInformer, f func(cache.ObjectName)) (remove func(), err error) {
	call := func(obj any) {
		if name, err := cache.DeletionHandlingObjectToName(obj); err == nil {
			f(name)
		}
	}
	reg, err := inf.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    call,
		UpdateFunc: func(_, obj any) { call(obj) },
		DeleteFunc: call,
	})
	if err != nil {
		return func() {}, fmt.Errorf("watch for events: %w", err)
	}
	return func() {
		_ = inf.RemoveEventHandler(reg) // fails only for a handler of another informer
	}, nil
}

// OnChange calls f with each object that is added or deleted, and with each that is updated so that same does not hold of what it was
// and what it is; beginning with all that are there.
func OnChange[T any](inf cache.SharedIndexInformer, same func(was, is *T) bool, f func(*T)) error {
	call := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if t, ok := obj.(*T); ok {
			f(t)
		}
	}
	_, err := inf.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    call,
		DeleteFunc: call,
		UpdateFunc: func(old, obj any) {
			was, ok1 := old.(*T)
			is, ok2 := obj.(*T)
			if !ok1 || !ok2 || !same(was, is) {
				call(obj)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch for changes: %w", err)
	}
	return nil
}

// Start runs the informers until ctx is done and returns once all of them have listed what there is.
func Start(ctx context.Context, informers ...cache.SharedIndexInformer) error {
	var synced []cache.InformerSynced
	for _, inf := range informers {
		go inf.RunWithContext(ctx)
		synced = append(synced, inf.HasSynced)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return fmt.Errorf("fill caches from the API server: %w", context.Cause(ctx))
	}
	return nil
}

// Get returns the object of that name from the informer's store, or nil if there is none.
func Get[T any](inf cache.SharedIndexInformer, name cache.ObjectName) *T {
	obj, ok, err := inf.GetStore().GetByKey(name.String())
	if err != nil || !ok {
		return nil
	}
	t, _ := obj.(*T)
	return t
}

// List returns all objects in the informer's store. They are shared: only to be read.
func List[T any](inf cache.SharedIndexInformer) []*T {
	objs := inf.GetStore().List()
	out := make([]*T, 0, len(objs))
	for _, obj := range objs {
		if t, ok := obj.(*T); ok {
			out = append(out, t)
		}
	}
	return out
}
