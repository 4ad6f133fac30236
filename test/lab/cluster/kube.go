package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/invar-lb/invar/test/lab/plan"
)

// answer bounds one request to kube-apiserver, which may be there and not answer.
const answer = 5 * time.Second

// client makes a client with the administrator's rights.
func client(lab plan.Lab) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", lab.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.Timeout = answer
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return c, nil
}

// apiReady reports whether kube-apiserver says that it is ready.
func (b *builder) apiReady(ctx context.Context) (bool, error) {
	c, err := client(b.lab)
	if err != nil {
		return false, err
	}
	return serving(ctx, c)
}

func serving(ctx context.Context, c kubernetes.Interface) (bool, error) {
	err := c.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	return err == nil, err
}

// registerNodes makes the Node objects before the kubelets do, so that each node has the pod range of its number.
func (b *builder) registerNodes(ctx context.Context) error {
	c, err := client(b.lab)
	if err != nil {
		return err
	}
	for _, h := range b.lab.NodeHosts() {
		node := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: h.Name, Labels: map[string]string{corev1.LabelHostname: h.Name}},
			Spec:       corev1.NodeSpec{PodCIDR: h.PodsV4.String(), PodCIDRs: []string{h.PodsV4.String(), h.PodsV6.String()}},
		}
		_, err := c.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("register %s: %w", h.Name, err)
		}
	}
	return nil
}

// waitReady waits until all nodes are Ready and pods may be made in namespace default.
func (b *builder) waitReady(ctx context.Context) error {
	c, err := client(b.lab)
	if err != nil {
		return err
	}
	said := 0
	return b.wait(ctx, "nodes", func(ctx context.Context) (bool, error) {
		ready, err := readyNodes(ctx, c)
		if err != nil {
			return false, err
		}
		var missing []string
		for _, h := range b.lab.NodeHosts() {
			if !ready[h.Name] {
				missing = append(missing, h.Name)
			}
		}
		if n := b.lab.Nodes - len(missing); n > said {
			said = n
			b.Say("%d of %d nodes Ready", n, b.lab.Nodes)
		}
		if len(missing) > 0 {
			return false, errors.New("not Ready: " + strings.Join(missing, ", "))
		}
		_, err = c.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	})
}

// readyNodes tells which nodes are Ready.
func readyNodes(ctx context.Context, c kubernetes.Interface) (map[string]bool, error) {
	list, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	ready := make(map[string]bool)
	for _, n := range list.Items {
		for _, cond := range n.Status.Conditions {
			if cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue {
				ready[n.Name] = true
			}
		}
	}
	return ready, nil
}
