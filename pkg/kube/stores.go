package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Stores are informers by the name under which what they hold is saved.
type Stores map[string]cache.SharedIndexInformer

// saved is what one informer holds; exactly one of the lists is in use.
type saved struct {
	Services       []*corev1.Service            `json:"services,omitempty"`
	EndpointSlices []*discoveryv1.EndpointSlice `json:"endpointSlices,omitempty"`
	Nodes          []*corev1.Node               `json:"nodes,omitempty"`
	ConfigMaps     []*corev1.ConfigMap          `json:"configMaps,omitempty"`
	Secrets        []*corev1.Secret             `json:"secrets,omitempty"`
}

// Save returns what the informers hold, as JSON. keep says which objects are worth it. The same objects give the same text.
func (s Stores) Save(keep func(obj any) bool) ([]byte, error) {
	all := make(map[string]saved, len(s))
	for name, inf := range s {
		var out saved
		keys := inf.GetStore().ListKeys()
		slices.Sort(keys)
		for _, key := range keys {
			obj, ok, err := inf.GetStore().GetByKey(key)
			if err != nil || !ok || !keep(obj) {
				continue
			}
			if err := out.add(obj); err != nil {
				return nil, fmt.Errorf("save %s %s: %w", name, key, err)
			}
		}
		all[name] = out
	}
	return json.Marshal(all)
}

func (s *saved) add(obj any) error {
	switch obj := obj.(type) {
	case *corev1.Service:
		s.Services = append(s.Services, obj)
	case *discoveryv1.EndpointSlice:
		s.EndpointSlices = append(s.EndpointSlices, obj)
	case *corev1.Node:
		s.Nodes = append(s.Nodes, obj)
	case *corev1.ConfigMap:
		s.ConfigMaps = append(s.ConfigMaps, obj)
	case *corev1.Secret:
		s.Secrets = append(s.Secrets, obj)
	default:
		return fmt.Errorf("objects of type %T can't be saved", obj)
	}
	return nil
}

// Load puts into the informers' stores what Save returned. They must not run yet. What the API server says counts as soon
// as they have heard it: the objects that it does not list are dropped then, as if they had been deleted.
func (s Stores) Load(text []byte) error {
	var all map[string]saved
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("read saved objects: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		inf := s[name]
		if inf == nil {
			continue // of another version
		}
		for _, obj := range all[name].objects() {
			if err := inf.GetStore().Add(obj); err != nil {
				return fmt.Errorf("load %s: %w", name, err)
			}
		}
	}
	return nil
}

func (s saved) objects() (out []any) {
	for _, o := range s.Services {
		out = append(out, o)
	}
	for _, o := range s.EndpointSlices {
		out = append(out, o)
	}
	for _, o := range s.Nodes {
		out = append(out, o)
	}
	for _, o := range s.ConfigMaps {
		out = append(out, o)
	}
	for _, o := range s.Secrets {
		out = append(out, o)
	}
	return out
}

// ServiceName returns the name of the Service that an EndpointSlice belongs to; ok is false for any other object.
func ServiceName(obj any) (name cache.ObjectName, ok bool) {
	s, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return name, false
	}
	return cache.NewObjectName(s.Namespace, s.Labels[discoveryv1.LabelServiceName]), true
}
