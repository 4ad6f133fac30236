package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
)

// atOnce bounds the pods that are asked at a time.
const atOnce = 16

// question says what to gather.
type question struct {
	service  string // "namespace/name" of a Service to ask the controller about
	speakers bool   // ask every speaker, not just if the controller can't tell
}

// gather asks controllers and speakers. What can't be had is noted in the answer, which is there even if there is an error.
func (t *tool) gather(ctx context.Context, client kubernetes.Interface, q question) (*explain.Cluster, error) {
	c := &explain.Cluster{}
	pods, err := t.pods(ctx, client)
	if err != nil {
		c.NoController = err.Error()
		return c, err
	}
	for i := range pods {
		c.Pods = append(c.Pods, podOf(&pods[i]))
	}
	t.askControllers(ctx, client, c, q.service)
	if q.speakers || c.Controller == nil || !c.Controller.Listening {
		t.askSpeakers(ctx, client, c)
	}
	return c, nil
}

func podOf(p *corev1.Pod) explain.Pod {
	return explain.Pod{
		Name: p.Name, Node: p.Spec.NodeName, Speaker: p.Labels["component"] == "speaker", Image: images(p),
		Ready: slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}),
	}
}

// askControllers looks for the controller that leads.
func (t *tool) askControllers(ctx context.Context, client kubernetes.Interface, c *explain.Cluster, service string) {
	path := explain.StatePath
	if service != "" {
		path += "?" + explain.ServiceQuery + "=" + url.QueryEscape(service)
	}
	var failures []string
	for i := range c.Pods {
		p := &c.Pods[i]
		if p.Speaker {
			continue
		}
		var state explain.ControllerState
		switch err := t.fetch(ctx, client, p.Name, path, &state); {
		case err != nil:
			p.Failure = err.Error()
			failures = append(failures, p.Failure)
		case state.Leading:
			c.Controller = &state
			return
		default:
			failures = append(failures, p.Name+" stands by")
		}
	}
	c.NoController = cmp.Or(strings.Join(failures, "; "), "it has no pod")
}

// askSpeakers asks all speakers.
func (t *tool) askSpeakers(ctx context.Context, client kubernetes.Interface, c *explain.Cluster) {
	states := make([]*explain.SpeakerState, len(c.Pods))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range c.Pods {
		p := &c.Pods[i]
		if !p.Speaker {
			continue
		}
		group.Go(func() error {
			var state explain.SpeakerState
			if err := t.fetch(ctx, client, p.Name, explain.StatePath, &state); err != nil {
				p.Failure = err.Error()
			} else {
				states[i] = &state
			}
			return nil
		})
	}
	_ = group.Wait() // failures are noted in the pods
	for _, s := range states {
		if s != nil {
			c.Speakers = append(c.Speakers, *s)
		}
	}
	slices.SortFunc(c.Speakers, func(a, b explain.SpeakerState) int { return cmp.Compare(a.Node, b.Node) })
}

// subjectOf translates a Service.
func subjectOf(s *corev1.Service) explain.Subject {
	svc := kube.ServiceOf(s)
	return explain.Subject{
		Name: svc.Name.String(), Type: string(s.Spec.Type), Class: svc.Class,
		Created: s.CreationTimestamp.Time, Addrs: svc.Ingress,
		Allocated: conditionOf(s, kube.ConditionAllocated),
		Announced: conditionOf(s, kube.ConditionAnnounced),
		Conflict:  conditionOf(s, kube.ConditionConflict),
	}
}

func conditionOf(s *corev1.Service, kind string) explain.Condition {
	c := meta.FindStatusCondition(s.Status.Conditions, kind)
	if c == nil {
		return explain.Condition{}
	}
	return explain.Condition{True: c.Status == metav1.ConditionTrue, Reason: c.Reason, Message: c.Message}
}

// loadBalancers returns the Services of type LoadBalancer of a namespace, or of all.
func loadBalancers(ctx context.Context, client kubernetes.Interface, namespace string) ([]corev1.Service, error) {
	list, err := client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{FieldSelector: kube.OnlyLoadBalancers})
	if err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	return list.Items, nil
}

// serviceNamed returns the Service that a user names, as "name", "namespace/name" or, as kubectl prints it, "service/name".
func (t *tool) serviceNamed(ctx context.Context, client kubernetes.Interface, text string) (*corev1.Service, error) {
	ns, err := t.namespace()
	if err != nil {
		return nil, err
	}
	name := cache.NewObjectName(ns, text)
	if before, after, ok := strings.Cut(text, "/"); ok {
		name.Name = after
		if !slices.Contains([]string{"service", "services", "svc"}, before) {
			name.Namespace = before
		}
	}
	s, err := client.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get Service %s: %w", name, err)
	}
	return s, nil
}

// servicesOn returns the Services that show an address.
func servicesOn(ctx context.Context, client kubernetes.Interface, addr netip.Addr) ([]corev1.Service, error) {
	all, err := loadBalancers(ctx, client, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s corev1.Service) bool { return !slices.Contains(kube.ServiceOf(&s).Ingress, addr) }), nil
}
