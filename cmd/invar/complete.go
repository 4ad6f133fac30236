package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/invar-lb/invar/pkg/kube"
)

// completeWait is how long a shell waits for the API server to complete a word.
const completeWait = 3 * time.Second

// complete makes f complete the values of a flag, which exists.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("invar: no such flag to complete: " + flag)
	}
}

// completeFrom returns the completion of one argument by what list finds in the cluster.
func (t *tool) completeFrom(ctx context.Context, list func(context.Context, kubernetes.Interface) ([]string, error)) (
	[]cobra.Completion, cobra.ShellCompDirective,
) {
	client, err := t.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	ctx, cancel := context.WithTimeout(ctx, completeWait)
	defer cancel()
	names, err := list(ctx, client)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeServices completes the first argument to a Service of type LoadBalancer in the namespace.
func (t *tool) completeServices(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeFrom(cmd.Context(), func(ctx context.Context, client kubernetes.Interface) ([]string, error) {
		ns, err := t.namespace()
		if err != nil {
			return nil, err
		}
		services, err := client.CoreV1().Services(ns).List(ctx, metav1.ListOptions{FieldSelector: kube.OnlyLoadBalancers})
		return names(services.Items, func(s *corev1.Service) string { return s.Name }), err
	})
}

// completeOneNode completes the first argument to a node.
func (t *tool) completeOneNode(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeNodes(cmd, args, word)
}

// completeNodes completes a flag to a node.
func (t *tool) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return t.completeFrom(cmd.Context(), func(ctx context.Context, client kubernetes.Interface) ([]string, error) {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return names(nodes.Items, func(n *corev1.Node) string { return n.Name }), err
	})
}

// completeNamespaces completes a flag to a namespace.
func (t *tool) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return t.completeFrom(cmd.Context(), func(ctx context.Context, client kubernetes.Interface) ([]string, error) {
		list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		return names(list.Items, func(n *corev1.Namespace) string { return n.Name }), err
	})
}

func names[T any](items []T, name func(*T) string) []string {
	out := make([]string, len(items))
	for i := range items {
		out[i] = name(&items[i])
	}
	return out
}
