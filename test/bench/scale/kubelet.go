package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// What a kubelet does by default: see nodeLeaseDurationSeconds, of which it renews after a quarter, and nodeStatusReportFrequency of its
// configuration.
const (
	leaseSeconds = 40
	renewEvery   = leaseSeconds * time.Second / 4
	reportEvery  = 5 * time.Minute
)

// kubelet plays the kubelet of one simulated node.
type kubelet struct {
	client kubernetes.Interface
	name   string
	addr   netip.Addr
	// phase, from 0 to 1, keeps the kubelets from doing the same thing at the same time.
	phase float64

	node  *corev1.Node
	lease *coordinationv1.Lease
}

// register makes the Node, with the labels and the status of another one, and its Lease.
func (k *kubelet) register(ctx context.Context, model *corev1.Node) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.name, Labels: map[string]string{}}}
	for key, value := range model.Labels {
		node.Labels[key] = value
	}
	node.Labels[corev1.LabelHostname] = k.name
	made, err := k.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Node: %w", err)
	}
	made.Status = *model.Status.DeepCopy()
	made.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: k.addr.String()}, {Type: corev1.NodeHostName, Address: k.name},
	}
	k.node = made
	if err := k.report(ctx); err != nil {
		return err
	}
	holder, duration, now := k.name, int32(leaseSeconds), metav1.NowMicro()
	k.lease, err = k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: k.name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &duration, RenewTime: &now},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Lease of Node %s: %w", k.name, err)
	}
	return nil
}

// report writes the Node's status: all is as it was. Others write labels and taints meanwhile.
func (k *kubelet) report(ctx context.Context) error {
	nodes := k.client.CoreV1().Nodes()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		for i := range k.node.Status.Conditions {
			k.node.Status.Conditions[i].LastHeartbeatTime = metav1.Now()
		}
		now, err := nodes.UpdateStatus(ctx, k.node, metav1.UpdateOptions{})
		if err == nil {
			k.node = now
		} else if fresh, e := nodes.Get(ctx, k.name, metav1.GetOptions{}); e == nil {
			fresh.Status, k.node = k.node.Status, fresh
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("report status of Node %s: %w", k.name, err)
	}
	return nil
}

func (k *kubelet) renew(ctx context.Context) error {
	now := metav1.NowMicro()
	k.lease.Spec.RenewTime = &now
	lease, err := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Update(ctx, k.lease, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("renew Lease of Node %s: %w", k.name, err)
	}
	k.lease = lease
	return nil
}

// live keeps the Node alive until ctx is done. What fails is told, and tried again at the next turn.
func (k *kubelet) live(ctx context.Context) {
	share := func(d time.Duration) time.Duration { return time.Duration(k.phase * float64(d)) }
	renew, report := time.NewTimer(share(renewEvery)), time.NewTimer(share(reportEvery))
	defer renew.Stop()
	defer report.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
			renew.Reset(renewEvery)
			err = k.renew(ctx)
		case <-report.C:
			report.Reset(reportEvery)
			err = k.report(ctx)
		}
		if err != nil && ctx.Err() == nil {
			progress("%v", err)
		}
	}
}

// started writes into the status of a pod that it runs.
func (k *kubelet) started(ctx context.Context, pod *corev1.Pod) error {
	now := metav1.Now()
	pod = pod.DeepCopy()
	pod.Status.Phase, pod.Status.StartTime = corev1.PodRunning, &now
	pod.Status.HostIP, pod.Status.HostIPs = k.addr.String(), []corev1.HostIP{{IP: k.addr.String()}}
	pod.Status.PodIP, pod.Status.PodIPs = k.addr.String(), []corev1.PodIP{{IP: k.addr.String()}}
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
	}
	c := pod.Spec.Containers[0]
	yes := true
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: c.Name, Image: c.Image, Ready: true, Started: &yes,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}
	if _, err := k.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write status of pod %s: %w", pod.Name, err)
	}
	return nil
}

// environment returns the variables of a pod's only container.
func (k *kubelet) environment(pod *corev1.Pod) ([]string, error) {
	var env []string
	for _, v := range pod.Spec.Containers[0].Env {
		value := v.Value
		if v.ValueFrom != nil {
			if v.ValueFrom.FieldRef == nil {
				return nil, fmt.Errorf("variable %s of pod %s comes from no field", v.Name, pod.Name)
			}
			switch path := v.ValueFrom.FieldRef.FieldPath; path {
			case "spec.nodeName":
				value = k.name
			case "status.hostIP", "status.podIP":
				value = k.addr.String()
			case "metadata.namespace":
				value = pod.Namespace
			case "metadata.name":
				value = pod.Name
			default:
				return nil, fmt.Errorf("variable %s of pod %s comes from %s, which is not known here", v.Name, pod.Name, path)
			}
		}
		env = append(env, v.Name+"="+value)
	}
	return env, nil
}
