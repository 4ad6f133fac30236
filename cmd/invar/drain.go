package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/invar-lb/invar/pkg/explain"
)

// annotationDrained on a node says that the label which excludes it is invar drain's, so that undrain may remove it. A label
// that was there before, kubeadm's on control-plane nodes for example, stays.
const annotationDrained = "invar.io/drained"

func newDrainCommand(t *tool) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Let a node announce nothing: its addresses move to others first",
		Long: "Let a node announce nothing: its addresses move to others first.\n\n" +
			"It sets label " + corev1.LabelNodeExcludeBalancers + " and waits until the node announces nothing.\n" +
			"An address that no other node may have is announced by nobody then. Pods stay where they are.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeOneNode,
		PreRunE:           t.output.refuse,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.drain(cmd.Context(), args[0], wait)
		},
	}
	cmd.Flags().DurationVar(&wait, "timeout", 30*time.Second, "how long to wait until it announces nothing")
	return cmd
}

func newUndrainCommand(t *tool) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "undrain NODE",
		Short: "Let a node announce again",
		Long: "Let a node announce again: what drain has set is removed. Nothing moves by that: holders keep their addresses.\n" +
			"A label that was there before drain is left alone, unless --force is given.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeOneNode,
		PreRunE:           t.output.refuse,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.undrain(cmd.Context(), args[0], force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove the label even if drain has not set it")
	return cmd
}

func (t *tool) drain(ctx context.Context, name string, wait time.Duration) error {
	client, node, err := t.node(ctx, name)
	if err != nil {
		return err
	}
	if _, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]; excluded {
		fmt.Fprintf(t.Out, "%s has the label already\n", name)
	} else if err := mark(ctx, client, node, ""); err != nil {
		return err
	}
	start := time.Now()
	return t.await(ctx, wait, func(ctx context.Context) (done bool, state string) {
		c, err := t.gather(ctx, client, question{speakers: true})
		if err != nil {
			return false, err.Error()
		}
		return c.Idle(name)
	}, func() string {
		return fmt.Sprintf("%s announces nothing, after %s", name, explain.Duration(time.Since(start)))
	})
}

func (t *tool) undrain(ctx context.Context, name string, force bool) error {
	client, node, err := t.node(ctx, name)
	if err != nil {
		return err
	}
	_, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]
	_, ours := node.Annotations[annotationDrained]
	switch {
	case !excluded && !ours:
		fmt.Fprintf(t.Out, "%s is not drained\n", name)
		return nil
	case !ours && !force:
		return fmt.Errorf("label %s of node %s was not set by drain: --force removes it all the same",
			corev1.LabelNodeExcludeBalancers, name)
	}
	if err := mark(ctx, client, node, nil); err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "%s may announce again\n", name)
	return nil
}

// node connects to the cluster and returns the node of that name.
func (t *tool) node(ctx context.Context, name string) (kubernetes.Interface, *corev1.Node, error) {
	client, err := t.client()
	if err != nil {
		return nil, nil, err
	}
	node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("get node %s: %w", name, err)
	}
	return client, node, nil
}

// mark sets label and annotation of a node, or removes both if value is nil. Somebody who changed the node meanwhile is not
// overruled.
func mark(ctx context.Context, client kubernetes.Interface, node *corev1.Node, value any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": node.UID, "resourceVersion": node.ResourceVersion,
		"labels":      map[string]any{corev1.LabelNodeExcludeBalancers: value},
		"annotations": map[string]any{annotationDrained: value},
	}})
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("label node %s: %w", node.Name, err)
	}
	return nil
}
