package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/daemon"
	"github.com/invar-lb/invar/pkg/doctor"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/ipam"
	"github.com/invar-lb/invar/pkg/kube"
)

// A collector fills in facts, one kind after the other.
type collector struct {
	*tool
	*doctor.Facts
	client    kubernetes.Interface
	configMap string
}

// facts collects all that doctor looks at. What the user may not see is left out and noted, but for the API server's version, which
// everybody may.
func (t *tool) facts(ctx context.Context, configMap string) (*doctor.Facts, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	c := &collector{tool: t, client: client, configMap: configMap, Facts: &doctor.Facts{Version: daemon.Version}}
	for _, collect := range []func(context.Context) error{
		c.version, c.config, c.nodes, c.services, c.serviceRanges, c.pods, c.kubeProxy, c.deployments, c.daemonSets, c.cilium, c.states,
	} {
		err := collect(ctx)
		if apierrors.IsForbidden(err) {
			c.Unlearnt, err = append(c.Unlearnt, err.Error()), nil
		}
		if err != nil {
			return nil, err
		}
	}
	c.interfaces()
	return c.Facts, nil
}

func (c *collector) version(context.Context) error {
	v, err := c.client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("ask the API server for its version: %w", err)
	}
	c.Kubernetes = v.GitVersion
	return nil
}

func (c *collector) config(ctx context.Context) error {
	c.ConfigMap = c.home + "/" + c.configMap
	var err error
	c.Config, err = c.configInForce(ctx, c.client, c.configMap)
	switch {
	case errors.As(err, &config.Errors{}):
		c.ConfigErr = err
	case err != nil:
		return err
	case c.Config == nil:
		c.ConfigErr = fmt.Errorf("ConfigMap %s does not exist", c.ConfigMap)
	}
	return nil
}

// use notes that what has these addresses, of which texts are single ones or CIDRs.
func use(list []doctor.Range, what string, texts ...string) []doctor.Range {
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			a = a.Unmap()
			list = append(list, doctor.Range{Range: ipam.Range{From: a, To: a}, What: what})
		} else if r, err := ipam.ParseRange(text); err == nil {
			list = append(list, doctor.Range{Range: r, What: what})
		}
	}
	return list
}

func (c *collector) nodes(ctx context.Context) error {
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for i := range nodes.Items {
		obj := &nodes.Items[i]
		n := kube.NodeOf(obj)
		c.Nodes = append(c.Nodes, doctor.Node{
			Name: n.Name, Labels: n.Labels, Excluded: n.Excluded, NetworkUnavailable: n.NetworkUnavailable,
		})
		c.PodRanges = use(c.PodRanges, "the pods of node "+n.Name, obj.Spec.PodCIDRs...)
		for _, a := range obj.Status.Addresses {
			c.Used = use(c.Used, "node "+n.Name, a.Address)
		}
	}
	return nil
}

func (c *collector) services(ctx context.Context) error {
	services, err := c.client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	for i := range services.Items {
		obj := &services.Items[i]
		name := obj.Namespace + "/" + obj.Name
		c.Used = use(c.Used, "Service "+name, obj.Spec.ClusterIPs...)
		if s := kube.ServiceOf(obj); obj.Spec.Type == corev1.ServiceTypeLoadBalancer && s.AnnounceFrom != "" {
			c.Wishes = append(c.Wishes, doctor.Wish{Service: name, Node: s.AnnounceFrom})
		}
	}
	return nil
}

func (c *collector) serviceRanges(ctx context.Context) error {
	cidrs, err := c.client.NetworkingV1().ServiceCIDRs().List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil // an older Kubernetes; the Services' own addresses are known
	case err != nil:
		return fmt.Errorf("list ServiceCIDRs: %w", err)
	}
	for i := range cidrs.Items {
		c.ServiceRanges = use(c.ServiceRanges, "the range of the Services", cidrs.Items[i].Spec.CIDRs...)
	}
	return nil
}

func (c *collector) pods(ctx context.Context) error {
	pods, err := c.client.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		name := p.Namespace + "/" + p.Name
		if _, static := p.Annotations[corev1.MirrorPodAnnotationKey]; static {
			c.Workloads = append(c.Workloads, workload("Pod "+name, p.Labels, &p.Spec))
		}
		if p.Spec.HostNetwork {
			continue
		}
		for _, ip := range p.Status.PodIPs {
			c.Used = use(c.Used, "pod "+name, ip.IP)
		}
	}
	return nil
}

// kubeProxy reads the ConfigMap that kubeadm makes.
func (c *collector) kubeProxy(ctx context.Context) error {
	const namespace, name, key = "kube-system", "kube-proxy", "config.conf"
	cm, err := c.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		c.Unlearnt = append(c.Unlearnt, fmt.Sprintf("how kube-proxy is configured: there is no ConfigMap %s/%s", namespace, name))
		return nil
	}
	if err != nil {
		return fmt.Errorf("get ConfigMap %s/%s: %w", namespace, name, err)
	}
	var proxy struct { // kubeproxy.config.k8s.io/v1alpha1, KubeProxyConfiguration
		Mode string `json:"mode"`
		IPVS struct {
			StrictARP bool `json:"strictARP"`
		} `json:"ipvs"`
	}
	if err := yaml.Unmarshal([]byte(cm.Data[key]), &proxy); err != nil {
		return fmt.Errorf("read ConfigMap %s/%s: %w", namespace, name, err)
	}
	c.KubeProxy = doctor.KubeProxy{
		Source: fmt.Sprintf("ConfigMap %s/%s", namespace, name), Mode: proxy.Mode, StrictARP: proxy.IPVS.StrictARP,
	}
	return nil
}

// workload returns what is to be known of a workload.
func workload(name string, labels map[string]string, spec *corev1.PodSpec) doctor.Workload {
	w := doctor.Workload{Name: name, Labels: labels, Class: argument(spec, "lb-class"), Env: map[string]string{}}
	for _, container := range spec.Containers {
		w.Images = append(w.Images, container.Image)
		for _, e := range container.Env {
			w.Env[e.Name] = e.Value
		}
	}
	return w
}

func (c *collector) deployments(ctx context.Context) error {
	deployments, err := c.client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		c.FlagsUnknown = true
		return fmt.Errorf("list Deployments: %w", err)
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		w := workload(fmt.Sprintf("Deployment %s/%s", d.Namespace, d.Name), d.Labels, &d.Spec.Template.Spec)
		if w.Own = d.Namespace == c.home && d.Name == controllerName; w.Own {
			c.LBClass = w.Class
		}
		c.Workloads = append(c.Workloads, w)
	}
	return nil
}

func (c *collector) daemonSets(ctx context.Context) error {
	daemonSets, err := c.client.AppsV1().DaemonSets(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		c.FlagsUnknown = true
		return fmt.Errorf("list DaemonSets: %w", err)
	}
	for i := range daemonSets.Items {
		d := &daemonSets.Items[i]
		w := workload(fmt.Sprintf("DaemonSet %s/%s", d.Namespace, d.Name), d.Labels, &d.Spec.Template.Spec)
		if w.Own = d.Namespace == c.home && d.Name == speakerName; w.Own {
			c.IgnoreExclude = isSet(&d.Spec.Template.Spec, "ignore-exclude-lb")
		}
		c.Workloads = append(c.Workloads, w)
	}
	return nil
}

// isSet reports whether a boolean flag is on the command line of a pod's first container.
func isSet(spec *corev1.PodSpec, name string) bool {
	if len(spec.Containers) == 0 {
		return false
	}
	for _, arg := range spec.Containers[0].Args {
		if flag, value, assigned := strings.Cut(strings.TrimLeft(arg, "-"), "="); flag == name && (!assigned || value == "true") {
			return true
		}
	}
	return false
}

// cilium looks for the objects that make Cilium announce Services or give them addresses.
func (c *collector) cilium(ctx context.Context) error {
	client, kinds, err := c.customResources("cilium.io")
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		if kind.Resource != "ciliuml2announcementpolicies" && kind.Resource != "ciliumloadbalancerippools" {
			continue
		}
		list, err := client.Resource(kind).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list %s: %w", kind.Resource, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			c.Workloads = append(c.Workloads, doctor.Workload{Name: o.GetKind() + " " + o.GetName()})
		}
	}
	return nil
}

// states asks all pods of Invar, the speakers side by side, so that their clocks can be compared.
func (c *collector) states(ctx context.Context) error {
	pods, err := c.tool.pods(ctx, c.client)
	if c.PodsUnknown = err != nil; c.PodsUnknown {
		return err
	}
	for i := range pods {
		p := podOf(&pods[i])
		if p.Speaker {
			c.Speakers = append(c.Speakers, doctor.Speaker{Pod: p.Name, Node: p.Node, Ready: p.Ready})
		} else {
			c.Controllers = append(c.Controllers, doctor.Controller{Pod: p.Name, Ready: p.Ready})
		}
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i := range c.Controllers {
		s := &c.Controllers[i]
		group.Go(func() error {
			var state explain.ControllerState
			if err := c.fetch(ctx, c.client, s.Pod, explain.StatePath, &state); err != nil {
				s.Failure = err.Error()
			} else {
				s.State = &state
			}
			return nil
		})
	}
	for i := range c.Speakers {
		s := &c.Speakers[i]
		group.Go(func() error {
			var state explain.SpeakerState
			s.Asked = time.Now()
			if err := c.fetch(ctx, c.client, s.Pod, explain.StatePath, &state); err != nil {
				s.Failure = err.Error()
			} else {
				s.State = &state
			}
			s.Answered = time.Now()
			return nil
		})
	}
	return group.Wait() // failures are noted in the facts
}

// interfaces notes the addresses of the nodes' interfaces, those on which Services may be announced.
func (c *collector) interfaces() {
	for _, s := range c.Speakers {
		if s.State == nil {
			continue
		}
		for _, i := range s.State.Interfaces {
			if i.Skip != "" {
				continue // kube-ipvs0 for example has the Services' addresses
			}
			for _, p := range i.Prefixes {
				c.Used = use(c.Used, fmt.Sprintf("interface %s of node %s", i.Name, s.Node), p.Addr().String())
			}
		}
	}
}
