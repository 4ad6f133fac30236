// Package apitest makes an [api.Client] of client-go's fake clientset, for tests.
package apitest

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/invar-lb/invar/pkg/kube/api"
)

// Client is an [api.Client] over a fake clientset.
type Client struct{ Fake *fake.Clientset }

var _ api.Client = Client{}

// NewClient returns a Client of a new clientset. Tests that want to see or change its objects make their own.
func NewClient() Client { return Client{fake.NewClientset()} }

// Services implements [api.Client], as do the following methods.
func (c Client) Services(namespace string) api.Resource[*corev1.Service, *corev1.ServiceList] {
	return c.Fake.CoreV1().Services(namespace)
}

// ConfigMaps gives access to ConfigMaps.
func (c Client) ConfigMaps(namespace string) api.Resource[*corev1.ConfigMap, *corev1.ConfigMapList] {
	return c.Fake.CoreV1().ConfigMaps(namespace)
}

// Secrets gives access to Secrets.
func (c Client) Secrets(namespace string) api.Resource[*corev1.Secret, *corev1.SecretList] {
	return c.Fake.CoreV1().Secrets(namespace)
}

// Events gives access to Events.
func (c Client) Events(namespace string) api.Resource[*corev1.Event, *corev1.EventList] {
	return c.Fake.CoreV1().Events(namespace)
}

// EndpointSlices gives access to EndpointSlices.
func (c Client) EndpointSlices(namespace string) api.Resource[*discoveryv1.EndpointSlice, *discoveryv1.EndpointSliceList] {
	return c.Fake.DiscoveryV1().EndpointSlices(namespace)
}

// Namespaces gives access to namespaces.
func (c Client) Namespaces() api.Resource[*corev1.Namespace, *corev1.NamespaceList] {
	return c.Fake.CoreV1().Namespaces()
}

// Nodes gives access to nodes.
func (c Client) Nodes() api.Resource[*corev1.Node, *corev1.NodeList] { return c.Fake.CoreV1().Nodes() }

// IsWatchListSemanticsUnSupported tells informers that a fake clientset can't list by a watch.
func (c Client) IsWatchListSemanticsUnSupported() bool {
	return c.Fake.IsWatchListSemanticsUnSupported()
}
