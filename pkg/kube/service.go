package kube

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// Annotations of a Service, without their prefix; "metallb.io/" comes before "metallb.universe.tf/".
const (
	annotationPool    = "address-pool"
	annotationSharing = "allow-shared-ip"
	annotationAddrs   = "loadBalancerIPs"
)

// AnnotationAllocatedFrom is written by the controller: the pools that the Service's addresses come from.
const AnnotationAllocatedFrom = "metallb.io/ip-allocated-from-pool"

// Invar's own annotations of a Service.
const (
	// AnnotationAnnounceFrom names the node that should announce the Service's addresses if it can.
	AnnotationAnnounceFrom = "invar.io/announce-from"
	// AnnotationReallocate "true" lets go of an address that no pool has any more.
	AnnotationReallocate = "invar.io/reallocate"
)

// ConditionAllocated is the type of the condition in Service status by which the controller says whether the Service has
// the addresses that it asks for.
const ConditionAllocated = "invar.io/AddressAllocated"

// ConditionConflict is the type of the condition in Service status by which the controller says that a host outside the
// cluster uses an address of the Service.
const ConditionConflict = "invar.io/AddressConflict"

// ConditionAnnounced is the type of the condition in Service status by which the controller says which node announces the Service's
// addresses, and on which interfaces.
const ConditionAnnounced = "invar.io/Announced"

// Service is what Invar reads of a core/v1 Service of type LoadBalancer.
type Service struct {
	Name   cache.ObjectName
	Labels map[string]string
	Class  string // spec.loadBalancerClass

	IPv4, IPv6 bool // the families of spec.ipFamilies
	IPv6First  bool // spec.ipFamilies[0] is IPv6
	Partial    bool // spec.ipFamilyPolicy is PreferDualStack: one of two families will do
	Ports      []Port
	Local      bool              // spec.externalTrafficPolicy is Local
	Selector   map[string]string // spec.selector

	Pool       string       // requested pool
	Addrs      []netip.Addr // requested addresses, from the annotation or spec.loadBalancerIP
	AddrsErr   error        // why the request can't be understood
	SharingKey string
	Reallocate bool

	AnnounceFrom string // preferred node

	Ingress       []netip.Addr // status.loadBalancer.ingress[].ip
	AllocatedFrom string       // AnnotationAllocatedFrom
}

// Port is one port of a Service.
type Port struct {
	Protocol string // TCP, UDP or SCTP
	Port     uint16
}

// ServiceOf translates s.
func ServiceOf(s *corev1.Service) Service {
	out := Service{
		Name:         cache.MetaObjectToName(s),
		Labels:       s.Labels,
		Local:        s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		Selector:     s.Spec.Selector,
		Pool:         annotation(s, annotationPool),
		SharingKey:   annotation(s, annotationSharing),
		Reallocate:   s.Annotations[AnnotationReallocate] == "true",
		AnnounceFrom: s.Annotations[AnnotationAnnounceFrom],

		Ingress:       ingress(s),
		AllocatedFrom: s.Annotations[AnnotationAllocatedFrom],
	}
	if c := s.Spec.LoadBalancerClass; c != nil {
		out.Class = *c
	}
	if p := s.Spec.IPFamilyPolicy; p != nil {
		out.Partial = *p == corev1.IPFamilyPolicyPreferDualStack
	}
	for i, f := range s.Spec.IPFamilies {
		out.IPv4 = out.IPv4 || f == corev1.IPv4Protocol
		out.IPv6 = out.IPv6 || f == corev1.IPv6Protocol
		out.IPv6First = out.IPv6First || i == 0 && f == corev1.IPv6Protocol
	}
	for _, p := range s.Spec.Ports {
		out.Ports = append(out.Ports, Port{Protocol: string(p.Protocol), Port: uint16(p.Port)})
	}
	out.Addrs, out.AddrsErr = requested(s)
	return out
}

// SameService reports whether nothing has changed that Invar reads of a Service: conditions are written, for example, that are for
// people.
func SameService(was, is *corev1.Service) bool {
	return was.Spec.Type == is.Spec.Type && reflect.DeepEqual(ServiceOf(was), ServiceOf(is))
}

// annotation returns the value under metallb.io/, or else under the older metallb.universe.tf/. The newer key counts as
// soon as it is there, even if empty.
func annotation(s *corev1.Service, name string) string {
	if v, ok := s.Annotations["metallb.io/"+name]; ok {
		return v
	}
	return s.Annotations["metallb.universe.tf/"+name]
}

// requested returns the addresses that the Service asks for.
func requested(s *corev1.Service) ([]netip.Addr, error) {
	list := annotation(s, annotationAddrs)
	field := s.Spec.LoadBalancerIP
	switch {
	case list != "" && field != "":
		return nil, errors.New("both spec.loadBalancerIP and annotation loadBalancerIPs are set: only one of them may be")
	case list != "":
		return parseRequest(list)
	case field != "":
		a, err := parseAddr(field)
		if err != nil {
			return nil, fmt.Errorf("spec.loadBalancerIP: %w", err)
		}
		return []netip.Addr{a}, nil
	}
	return nil, nil
}

func parseRequest(list string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for s := range strings.SplitSeq(list, ",") {
		a, err := parseAddr(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("annotation loadBalancerIPs: %w", err)
		}
		addrs = append(addrs, a)
	}
	if len(addrs) > 2 || len(addrs) == 2 && addrs[0].Is4() == addrs[1].Is4() {
		return nil, fmt.Errorf("annotation loadBalancerIPs: %q: want one address, or one of each family", list)
	}
	return addrs, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", s)
	}
	return a.Unmap(), nil
}

// ingress returns the IP addresses in the Service's status; elements without one (hostname only) are passed over.
func ingress(s *corev1.Service) []netip.Addr {
	var addrs []netip.Addr
	for _, in := range s.Status.LoadBalancer.Ingress {
		if a, err := parseAddr(in.IP); err == nil && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}
