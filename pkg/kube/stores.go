package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Stores are informers by the name under which what they hold is saved.
type Stores map[string]cache.SharedIndexInformer

// saved is a line of what is saved: an object, or the number of those before it. Exactly one of the pointers is in use.
type saved struct {
	Store         string                     `json:"store,omitempty"`
	Service       *corev1.Service            `json:"service,omitempty"`
	EndpointSlice *discoveryv1.EndpointSlice `json:"endpointSlice,omitempty"`
	Node          *corev1.Node               `json:"node,omitempty"`
	ConfigMap     *corev1.ConfigMap          `json:"configMap,omitempty"`
	Secret        *corev1.Secret             `json:"secret,omitempty"`
	Count         *int                       `json:"count,omitempty"`
}

// Save writes what the informers hold, as JSON, an object on each line, so that no more than one is in memory twice. keep says
// which objects are worth it. The same objects give the same text.
func (s Stores) Save(w io.Writer, keep func(obj any) bool) error {
	out, count := json.NewEncoder(w), 0
	for _, name := range slices.Sorted(maps.Keys(s)) {
		keys := s[name].GetStore().ListKeys()
		slices.Sort(keys)
		for _, key := range keys {
			obj, ok, err := s[name].GetStore().GetByKey(key)
			if err != nil || !ok || !keep(obj) {
				continue
			}
			line := saved{Store: name}
			if err = line.set(obj); err == nil {
				err = out.Encode(line)
			}
			if err != nil {
				return fmt.Errorf("save %s %s: %w", name, key, err)
			}
			count++
		}
	}
	return out.Encode(saved{Count: &count})
}

func (s *saved) set(obj any) error {
	switch obj := obj.(type) {
	case *corev1.Service:
		s.Service = obj
	case *discoveryv1.EndpointSlice:
		s.EndpointSlice = obj
	case *corev1.Node:
		s.Node = obj
	case *corev1.ConfigMap:
		s.ConfigMap = obj
	case *corev1.Secret:
		s.Secret = obj
	default:
		return fmt.Errorf("objects of type %T can't be saved", obj)
	}
	return nil
}

// object returns what is saved in the line, nil if this version does not know it.
func (s *saved) object() any {
	switch {
	case s.Service != nil:
		return s.Service
	case s.EndpointSlice != nil:
		return s.EndpointSlice
	case s.Node != nil:
		return s.Node
	case s.ConfigMap != nil:
		return s.ConfigMap
	case s.Secret != nil:
		return s.Secret
	}
	return nil
}

// Load puts into the informers' stores what Save wrote. They must not run yet. What the API server says counts as soon
// as they have heard it: the objects that it does not list are dropped then, as if they had been deleted. If the text is
// damaged or ends early, nothing is loaded.
func (s Stores) Load(in *json.Decoder) error {
	var lines []saved
	for {
		var line saved
		if err := in.Decode(&line); err != nil {
			return fmt.Errorf("read saved objects: %w", err)
		}
		if line.Count == nil {
			lines = append(lines, line)
			continue
		}
		if *line.Count != len(lines) {
			return fmt.Errorf("read saved objects: %d of %d are there", len(lines), *line.Count)
		}
		break
	}
	for _, line := range lines {
		inf, obj := s[line.Store], line.object()
		if inf == nil || obj == nil {
			continue // of another version
		}
		if err := inf.GetStore().Add(obj); err != nil {
			return fmt.Errorf("load %s: %w", line.Store, err)
		}
	}
	return nil
}

// ServiceName returns the name of the Service that an EndpointSlice belongs to; ok is false for any other object.
func ServiceName(obj any) (name cache.ObjectName, ok bool) {
	s, ok := obj.(*discoveryv1.EndpointSlice)
	if !ok {
		return name, false
	}
	return cache.NewObjectName(s.Namespace, s.Labels[discoveryv1.LabelServiceName]), true
}
