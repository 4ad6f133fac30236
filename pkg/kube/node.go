package kube

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Node is what Invar reads of a core/v1 Node.
type Node struct {
	Name   string
	Labels map[string]string
	// Excluded: the node has label node.kubernetes.io/exclude-from-external-load-balancers, whatever its value.
	Excluded bool
	// NetworkUnavailable: the condition of that type is True.
	NetworkUnavailable bool
}

// NodeOf translates n.
func NodeOf(n *corev1.Node) Node {
	_, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]
	return Node{
		Name:     n.Name,
		Labels:   n.Labels,
		Excluded: excluded,
		NetworkUnavailable: slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeNetworkUnavailable && c.Status == corev1.ConditionTrue
		}),
	}
}

// SameNode reports whether nothing has changed that Invar reads of a Node: each kubelet reports every five minutes that all is as it
// was.
func SameNode(was, is *corev1.Node) bool { return reflect.DeepEqual(NodeOf(was), NodeOf(is)) }

// Serving tells where a Service has endpoints that take traffic.
type Serving struct {
	Any   bool            // there is one somewhere, be it on no node at all
	Nodes map[string]bool // nodes with at least one; nil if there is none
}

// ServingOf collects the serving endpoints of a Service from an informer made by EndpointSlices. in is [ServingIn], or remembers what
// that has returned.
func ServingOf(inf cache.SharedIndexInformer, service cache.ObjectName, in func(*discoveryv1.EndpointSlice) Serving) Serving {
	var s Serving
	objs, err := inf.GetIndexer().ByIndex(byService, service.String())
	if err != nil {
		return s
	}
	for _, obj := range objs {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
			s = s.and(in(slice))
		}
	}
	return s
}

// and returns both together. Neither is changed.
func (s Serving) and(other Serving) Serving {
	switch {
	case !s.Any:
		return other
	case !other.Any:
		return s
	case s.Nodes == nil:
		return other
	case other.Nodes == nil:
		return s
	}
	nodes := maps.Clone(s.Nodes)
	maps.Copy(nodes, other.Nodes)
	return Serving{Any: true, Nodes: nodes}
}

// ServingIn collects the serving endpoints of one EndpointSlice. Endpoints that are terminating but still serving count, as kube-proxy
// uses them when there is no other.
func ServingIn(slice *discoveryv1.EndpointSlice) (s Serving) {
	for _, e := range slice.Endpoints {
		if !serves(e.Conditions) {
			continue
		}
		s.Any = true
		if e.NodeName == nil {
			continue
		}
		if s.Nodes == nil {
			s.Nodes = map[string]bool{}
		}
		s.Nodes[*e.NodeName] = true
	}
	return s
}

// SameServing reports whether an EndpointSlice tells the same of where its Service has endpoints that take traffic.
func SameServing(was, is *discoveryv1.EndpointSlice) bool {
	return was.Labels[discoveryv1.LabelServiceName] == is.Labels[discoveryv1.LabelServiceName] &&
		reflect.DeepEqual(ServingIn(was), ServingIn(is))
}

// serves reports whether an endpoint takes traffic; by discovery/v1, an unknown state of ready counts as true.
func serves(c discoveryv1.EndpointConditions) bool {
	return c.Ready == nil || *c.Ready || c.Serving != nil && *c.Serving
}

// Speaker is a speaker as Kubernetes knows it.
type Speaker struct {
	Node string
	Addr netip.Addr
}

// ReadySpeakers returns the ready endpoints of an informer made by ServiceSlices, sorted by node. A Service that publishes addresses
// that are not ready calls them all so.
func ReadySpeakers(inf cache.SharedIndexInformer) []Speaker {
	return speakers(inf, func(c discoveryv1.EndpointConditions) bool { return c.Ready == nil || *c.Ready })
}

// ServingSpeakers returns those endpoints whose pods are ready, also if they are about to end.
func ServingSpeakers(inf cache.SharedIndexInformer) []Speaker {
	return speakers(inf, func(c discoveryv1.EndpointConditions) bool { return c.Serving == nil || *c.Serving })
}

func speakers(inf cache.SharedIndexInformer, wanted func(discoveryv1.EndpointConditions) bool) []Speaker {
	var out []Speaker
	for _, slice := range List[discoveryv1.EndpointSlice](inf) {
		for _, e := range slice.Endpoints {
			if e.NodeName == nil || !wanted(e.Conditions) {
				continue
			}
			for _, s := range e.Addresses {
				if a, err := parseAddr(s); err == nil {
					out = append(out, Speaker{Node: *e.NodeName, Addr: a})
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Speaker) int { return cmp.Or(cmp.Compare(a.Node, b.Node), a.Addr.Compare(b.Addr)) })
	return slices.Compact(out)
}

// SpeakersBeside returns where the endpoints of an informer made by ServiceSlices are to be talked to from self, ready or not:
// those of its address family but for self.
func SpeakersBeside(inf cache.SharedIndexInformer, self netip.Addr, port int) []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range Addresses(inf) {
		if a != self && a.Is4() == self.Is4() {
			out = append(out, netip.AddrPortFrom(a, uint16(port)))
		}
	}
	return out
}

// Addresses returns the endpoint addresses of an informer made by ServiceSlices, ready or not, sorted.
func Addresses(inf cache.SharedIndexInformer) []netip.Addr {
	var addrs []netip.Addr
	for _, slice := range List[discoveryv1.EndpointSlice](inf) {
		for _, e := range slice.Endpoints {
			for _, s := range e.Addresses {
				if a, err := parseAddr(s); err == nil {
					addrs = append(addrs, a)
				}
			}
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(addrs)
}
