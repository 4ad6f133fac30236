package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	discoveryinformers "k8s.io/client-go/informers/discovery/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// OnlyLoadBalancers is the field selector that makes the API server send Services of type LoadBalancer alone. One that leaves the type is reported
// as deleted.
var OnlyLoadBalancers = fields.OneTermEqualSelector("spec.type", string(corev1.ServiceTypeLoadBalancer)).String()

// noResync: informers repeat nothing by themselves, since every state that matters is rebuilt from what they hold.
const noResync = time.Duration(0)

// Services watches the Services of type LoadBalancer of all namespaces.
func Services(client kubernetes.Interface) cache.SharedIndexInformer {
	return slim(coreinformers.NewFilteredServiceInformer(client, metav1.NamespaceAll, noResync, cache.Indexers{},
		func(o *metav1.ListOptions) { o.FieldSelector = OnlyLoadBalancers }), nil)
}

// ConfigMap watches one ConfigMap.
func ConfigMap(client kubernetes.Interface, namespace, name string) cache.SharedIndexInformer {
	return slim(coreinformers.NewFilteredConfigMapInformer(client, namespace, noResync, cache.Indexers{}, named(name)), nil)
}

// Secret watches one Secret.
func Secret(client kubernetes.Interface, namespace, name string) cache.SharedIndexInformer {
	return slim(coreinformers.NewFilteredSecretInformer(client, namespace, noResync, cache.Indexers{}, named(name)), nil)
}

// Namespaces watches the namespaces, of which only the labels are kept.
func Namespaces(client kubernetes.Interface) cache.SharedIndexInformer {
	return slim(coreinformers.NewNamespaceInformer(client, noResync, cache.Indexers{}), func(obj any) {
		if ns, ok := obj.(*corev1.Namespace); ok {
			ns.Annotations, ns.Spec, ns.Status = nil, corev1.NamespaceSpec{}, corev1.NamespaceStatus{}
		}
	})
}

// Nodes watches the nodes, of which only labels and conditions are kept.
func Nodes(client kubernetes.Interface) cache.SharedIndexInformer {
	return slim(coreinformers.NewNodeInformer(client, noResync, cache.Indexers{}), func(obj any) {
		if n, ok := obj.(*corev1.Node); ok {
			n.Annotations, n.Spec = nil, corev1.NodeSpec{}
			n.Status = corev1.NodeStatus{Conditions: n.Status.Conditions}
		}
	})
}

// byService indexes EndpointSlices by the Service that they belong to.
const byService = "service"

// EndpointSlices watches the EndpointSlices of Services that have a cluster IP: headless ones can't be of type
// LoadBalancer. Of each endpoint only its node and conditions are kept.
func EndpointSlices(client kubernetes.Interface) cache.SharedIndexInformer {
	return endpointSlices(client, metav1.NamespaceAll, "!"+corev1.IsHeadlessService)
}

// SpeakerService is the headless Service through whose endpoints the speakers are found.
const SpeakerService = "speaker"

// ServiceSlices watches the EndpointSlices of one Service, headless or not.
func ServiceSlices(client kubernetes.Interface, namespace, service string) cache.SharedIndexInformer {
	return endpointSlices(client, namespace, discoveryv1.LabelServiceName+"="+service)
}

func endpointSlices(client kubernetes.Interface, namespace, selector string) cache.SharedIndexInformer {
	indexers := cache.Indexers{byService: func(obj any) ([]string, error) {
		s, ok := obj.(*discoveryv1.EndpointSlice)
		if !ok {
			return nil, fmt.Errorf("index EndpointSlice: got %T", obj)
		}
		return []string{s.Namespace + "/" + s.Labels[discoveryv1.LabelServiceName]}, nil
	}}
	return slim(discoveryinformers.NewFilteredEndpointSliceInformer(client, namespace, noResync, indexers,
		func(o *metav1.ListOptions) { o.LabelSelector = selector }), func(obj any) {
		if s, ok := obj.(*discoveryv1.EndpointSlice); ok {
			s.Annotations, s.Ports = nil, nil
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				*e = discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, NodeName: e.NodeName}
			}
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
