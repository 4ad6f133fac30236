package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// excludeLabel keeps Services of type LoadBalancer away from a node, see k8s.io/api/core/v1, LabelNodeExcludeBalancers.
const excludeLabel = corev1.LabelNodeExcludeBalancers

// deed is one half of a fault. It may be done twice, if it fails in between.
type deed func(context.Context, *chaos, *Fault) error

// deeds say how each kind of fault is injected and undone.
var deeds = map[string]struct{ inject, undo deed }{
	"cable-cut":   {onNode("cut"), onNode("heal")},
	"node-freeze": {onNode("freeze"), onNode("thaw")},
	"partition": {
		func(ctx context.Context, x *chaos, f *Fault) error {
			return x.Lab(ctx, append([]string{"partition"}, f.Apart...)...)
		},
		func(ctx context.Context, x *chaos, _ *Fault) error { return x.Lab(ctx, "unite") },
	},
	"speaker-kill":            {signalSpeaker(syscall.SIGKILL), deletePods("component=speaker")},
	"speaker-freeze":          {signalSpeaker(syscall.SIGSTOP), signalSpeaker(syscall.SIGCONT)},
	"speaker-rollout":         {restart("daemonset/speaker"), nil},
	"node-exclude":            {label("="), label("-")},
	"controller-kill":         {signalController(syscall.SIGKILL), deletePods("component=controller")},
	"controller-freeze":       {signalController(syscall.SIGSTOP), signalController(syscall.SIGCONT)},
	"controller-rollout":      {restart("deployment/controller"), nil},
	"apiserver-kill":          {kill("kube-apiserver"), start("kube-apiserver")},
	"etcd-kill":               {kill("etcd"), start("etcd")},
	"controller-manager-kill": {kill("kube-controller-manager"), start("kube-controller-manager")},
	"scheduler-kill":          {kill("kube-scheduler"), start("kube-scheduler")},
	"control-plane-freeze": {
		func(ctx context.Context, x *chaos, _ *Fault) error { return x.Lab(ctx, "freeze", controlPlane) },
		func(ctx context.Context, x *chaos, _ *Fault) error { return x.Lab(ctx, "thaw", controlPlane) },
	},
	"kubelet-kill":    {kill("kubelet"), start("kubelet")},
	"kube-proxy-kill": {kill("kube-proxy"), start("kube-proxy")},
	"endpoint-delete": {deletePods("app=" + churn), nil},
	"endpoints-none":  {scale(0), scale(churnPods)},
	"service-create":  {createService(nil), deleteService},
	"service-policy":  {setPolicy(corev1.ServiceExternalTrafficPolicyCluster), setPolicy(corev1.ServiceExternalTrafficPolicyLocal)},
	"service-pool":    {createInPool, deleteAfterPool},
	"pool-removed":    {configure("default", elsewhere), configure("default", defaultPool)},
	"config-bad":      {configure("default", badPool), configure("default", defaultPool)},
	"config-deleted":  {deleteConfig, configure("default", defaultPool)},
	"clock-jump":      {jump, jumpBack},
}

// onNode runs a command of bin/lab on the fault's node.
func onNode(command string) deed {
	return func(ctx context.Context, x *chaos, f *Fault) error { return x.Lab(ctx, command, f.Node) }
}

// kill ends a component of the fault's node, or of the control plane.
func kill(component string) deed { return ofHost("kill", component) }

func start(component string) deed { return ofHost("start", component) }

func ofHost(command, component string) deed {
	return func(ctx context.Context, x *chaos, f *Fault) error {
		host := f.Node
		if host == "" {
			host = controlPlane
		}
		return x.Lab(ctx, command, host, component)
	}
}

// signalSpeaker finds the process without asking the API server, which may be away.
func signalSpeaker(s syscall.Signal) deed {
	return func(_ context.Context, x *chaos, f *Fault) error { return x.signal([]string{f.Node}, "speaker", s) }
}

func signalController(s syscall.Signal) deed {
	return func(_ context.Context, x *chaos, _ *Fault) error { return x.signal(nodeNames, "controller", s) }
}

// signal sends a signal to all processes of a name on the given nodes.
func (x *chaos) signal(nodes []string, command string, s syscall.Signal) error {
	var errs []error
	found := false
	for _, node := range nodes {
		pid, err := x.ProcessOn(node, command)
		if err == nil {
			found, err = true, syscall.Kill(pid, s)
		}
		errs = append(errs, err)
	}
	if found {
		return nil
	}
	return errors.Join(errs...)
}

// deletePods deletes pods with a label: on the fault's node, if it has one. After a kill that makes kubelet start the next one
// at once: it waits ever longer before it restarts a container that fails again.
func deletePods(selector string) deed {
	return func(ctx context.Context, x *chaos, f *Fault) error {
		namespace := cluster.Namespace
		if strings.HasPrefix(selector, "app=") {
			namespace = rig.Namespace
		}
		options := metav1.ListOptions{LabelSelector: selector}
		if f.Node != "" {
			options.FieldSelector = "spec.nodeName=" + f.Node
		}
		return x.Kube.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, options)
	}
}

// restart rolls a workload of Invar's out anew.
func restart(what string) deed {
	return func(ctx context.Context, x *chaos, f *Fault) error {
		patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"chaos":"%d"}}}}}`, f.Number)
		apps, options := x.Kube.AppsV1(), metav1.PatchOptions{}
		kind, name, _ := strings.Cut(what, "/")
		if kind == "daemonset" {
			_, err := apps.DaemonSets(cluster.Namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), options)
			return err
		}
		_, err := apps.Deployments(cluster.Namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), options)
		return err
	}
}

// label sets excludeLabel with "=" and removes it with "-".
func label(change string) deed {
	value := "null"
	if change == "=" {
		value = `""`
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, excludeLabel, value)
	return func(ctx context.Context, x *chaos, f *Fault) error {
		_, err := x.Kube.CoreV1().Nodes().Patch(ctx, f.Node, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
}

// scale sets the number of pods behind the Service churn.
func scale(n int) deed {
	patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, n)
	return func(ctx context.Context, x *chaos, _ *Fault) error {
		_, err := x.Kube.AppsV1().Deployments(rig.Namespace).Patch(ctx, churn, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
}

// extra is the name of the Service that a fault makes.
func extra(f *Fault) string { return fmt.Sprintf("extra-%d", f.Number) }

// createService makes a Service of the fault's own.
func createService(annotations map[string]string) deed {
	return func(ctx context.Context, x *chaos, f *Fault) error {
		f.Services = []string{extra(f)}
		s := service(extra(f), local)
		s.Annotations = annotations
		_, err := x.Kube.CoreV1().Services(rig.Namespace).Create(ctx, s, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	}
}

func deleteService(ctx context.Context, x *chaos, f *Fault) error {
	err := x.Kube.CoreV1().Services(rig.Namespace).Delete(ctx, extra(f), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// setPolicy changes the policy of a Service that all others leave alone.
func setPolicy(p corev1.ServiceExternalTrafficPolicy) deed {
	patch := fmt.Sprintf(`{"spec":{"externalTrafficPolicy":%q}}`, p)
	return func(ctx context.Context, x *chaos, f *Fault) error {
		f.Services = []string{changing}
		_, err := x.Kube.CoreV1().Services(rig.Namespace).Patch(ctx, changing, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
}

// createInPool adds a pool, and makes a Service that asks for it.
func createInPool(ctx context.Context, x *chaos, f *Fault) error {
	if err := configure(morePool, moreAddresses)(ctx, x, f); err != nil {
		return err
	}
	return createService(map[string]string{"metallb.io/address-pool": morePool})(ctx, x, f)
}

// deleteAfterPool removes the pool first. The Service keeps its address until it is deleted.
func deleteAfterPool(ctx context.Context, x *chaos, f *Fault) error {
	if err := configure(morePool, "")(ctx, x, f); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	return deleteService(ctx, x, f)
}

// Pools. Services hold addresses of the default one when it is removed.
const (
	defaultPool   = "192.168.1.160-192.168.1.179, fd00:1::160-fd00:1::179"
	elsewhere     = "192.168.1.190-192.168.1.199"
	badPool       = "192.168.1.179-192.168.1.160"
	morePool      = "more"
	moreAddresses = "192.168.1.180-192.168.1.189"
)

// configText is the configuration, which faults of several classes change.
type configText struct {
	mu    sync.Mutex
	pools map[string]string // addresses, by name
}

// set replaces the addresses of a pool, or removes it, and returns the text.
func (c *configText) set(name, addresses string) string {
	if c.pools == nil {
		c.pools = map[string]string{}
	}
	c.pools[name] = addresses
	var text strings.Builder
	text.WriteString("address-pools:\n")
	for _, pool := range []string{"default", morePool} {
		if c.pools[pool] == "" {
			continue
		}
		fmt.Fprintf(&text, "- name: %s\n  protocol: layer2\n  addresses:\n", pool)
		for a := range strings.SplitSeq(c.pools[pool], ", ") {
			fmt.Fprintf(&text, "  - %s\n", a)
		}
	}
	return text.String()
}

// configure gives a pool other addresses; none remove it.
func configure(pool, addresses string) deed {
	return func(ctx context.Context, x *chaos, _ *Fault) error {
		x.config.mu.Lock()
		defer x.config.mu.Unlock()
		text := x.config.set(pool, addresses)
		maps := x.Kube.CoreV1().ConfigMaps(cluster.Namespace)
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "config"}, Data: map[string]string{"config": text}}
		_, err := maps.Update(ctx, cm, metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			_, err = maps.Create(ctx, cm, metav1.CreateOptions{})
		}
		return err
	}
}

func deleteConfig(ctx context.Context, x *chaos, _ *Fault) error {
	x.config.mu.Lock()
	defer x.config.mu.Unlock()
	err := x.Kube.CoreV1().ConfigMaps(cluster.Namespace).Delete(ctx, "config", metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
