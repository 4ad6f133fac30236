package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/invar-lb/invar/pkg/ipam"
)

// group is the API group of MetalLB's custom resources.
const group = "metallb.io/"

// object is what all objects of Kubernetes have.
type object struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   metadata        `json:"metadata"`
	Spec       json.RawMessage `json:"spec"`
}

type metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Labels    map[string]string `json:"labels"`
}

// name returns the object as "IPAddressPool default".
func (o *object) name() string { return o.Kind + " " + o.Metadata.Name }

// poolSpec is the spec of an IPAddressPool, and with protocol and bgpAdvertisements that of an AddressPool.
type poolSpec struct {
	Addresses         []string        `json:"addresses"`
	AutoAssign        *bool           `json:"autoAssign"`
	AvoidBuggyIPs     bool            `json:"avoidBuggyIPs"`
	ServiceAllocation *allocationSpec `json:"serviceAllocation"`
	Protocol          string          `json:"protocol"`
	BGPAdvertisements json.RawMessage `json:"bgpAdvertisements"`
}

// allocationSpec says which Services may use a pool.
type allocationSpec struct {
	Priority           int        `json:"priority"`
	Namespaces         []string   `json:"namespaces"`
	NamespaceSelectors []selector `json:"namespaceSelectors"`
	ServiceSelectors   []selector `json:"serviceSelectors"`
}

// advertisementSpec is what an L2Advertisement says, and as far as pools are selected a BGPAdvertisement.
type advertisementSpec struct {
	IPAddressPools         []string        `json:"ipAddressPools"`
	IPAddressPoolSelectors []selector      `json:"ipAddressPoolSelectors"`
	NodeSelectors          []selector      `json:"nodeSelectors"`
	Interfaces             []string        `json:"interfaces"`
	ServiceSelectors       []selector      `json:"serviceSelectors"`
	PreferredNodeSelectors json.RawMessage `json:"preferredNodeSelectors"`
}

// selector is Kubernetes' LabelSelector.
type selector struct {
	MatchLabels      map[string]string `json:"matchLabels"`
	MatchExpressions []struct {
		Key      string   `json:"key"`
		Operator string   `json:"operator"`
		Values   []string `json:"values"`
	} `json:"matchExpressions"`
}

func (s selector) ipam() ipam.Selector {
	out := ipam.Selector{MatchLabels: s.MatchLabels}
	for _, e := range s.MatchExpressions {
		out.MatchExpressions = append(out.MatchExpressions,
			ipam.Requirement{Key: e.Key, Operator: ipam.Operator(e.Operator), Values: e.Values})
	}
	return out
}

// selectors turns a list of Kubernetes' selectors into Invar's.
func selectors(list []selector) []ipam.Selector {
	var out []ipam.Selector
	for _, s := range list {
		out = append(out, s.ipam())
	}
	return out
}

// decode reads spec into v, and returns the paths of what v does not know.
func decode(spec json.RawMessage, v any) (unknown []string, err error) {
	if len(spec) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(spec, v); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	read, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write spec: %w", err)
	}
	var all, known any
	if err := errors.Join(json.Unmarshal(spec, &all), json.Unmarshal(read, &known)); err != nil {
		return nil, fmt.Errorf("compare spec: %w", err)
	}
	return missing("spec", all, known), nil
}

// missing returns the paths of the keys of all that known does not have.
func missing(path string, all, known any) (paths []string) {
	switch all := all.(type) {
	case map[string]any:
		known, _ := known.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(all)) {
			if value, ok := known[key]; ok {
				paths = append(paths, missing(path+"."+key, all[key], value)...)
			} else {
				paths = append(paths, path+"."+key)
			}
		}
	case []any:
		known, _ := known.([]any)
		for i := range min(len(all), len(known)) {
			paths = append(paths, missing(fmt.Sprintf("%s[%d]", path, i), all[i], known[i])...)
		}
	}
	return paths
}

// expand returns the objects of a list, and any other object itself.
func expand(text json.RawMessage) ([]object, error) {
	var list struct {
		object
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	if !strings.HasSuffix(list.Kind, "List") {
		return []object{list.object}, nil
	}
	var all []object
	for _, item := range list.Items {
		objects, err := expand(item)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}
