package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
)

// lookEvery is the time between two looks whether something has come about.
const lookEvery = 200 * time.Millisecond

func newMoveCommand(t *tool) *cobra.Command {
	var to string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "move ADDRESS --to NODE",
		Short: "Move an address to a node, and keep it there whenever that node is able to",
		Long: "Move an address to a node, and keep it there whenever that node is able to.\n\n" +
			"It sets annotation " + kube.AnnotationAnnounceFrom + " on the Services that have the address, and waits until the node announces it.\n" +
			"The new node announces before the old one falls silent. --to \"\" lifts the wish; the address stays where it is.",
		Args:    cobra.ExactArgs(1),
		PreRunE: t.output.refuse,
		RunE: func(cmd *cobra.Command, args []string) error {
			addr, err := netip.ParseAddr(args[0])
			if err != nil {
				return usageError{cmd, fmt.Errorf("%q is no IP address", args[0])}
			}
			if !cmd.Flags().Changed("to") {
				return usageError{cmd, fmt.Errorf("--to is needed: a node, or \"\" to lift the wish")}
			}
			return t.move(cmd.Context(), addr, to, wait)
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "node that shall announce the address")
	cmd.Flags().DurationVar(&wait, "timeout", 30*time.Second, "how long to wait until it does")
	complete(cmd, "to", t.completeNodes)
	return cmd
}

func (t *tool) move(ctx context.Context, addr netip.Addr, to string, wait time.Duration) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	services, err := servicesOn(ctx, client, addr)
	if err != nil {
		return err
	}
	if len(services) == 0 {
		return fmt.Errorf("no Service has the address %s", addr)
	}
	if to != "" {
		if _, err := client.CoreV1().Nodes().Get(ctx, to, metav1.GetOptions{}); err != nil {
			return fmt.Errorf("get node %s: %w", to, err)
		}
	}
	for i := range services {
		if err := prefer(ctx, client, &services[i], to); err != nil {
			return err
		}
	}
	if to == "" {
		fmt.Fprintf(t.Out, "%s: no node is asked for any more\n", addr)
		return nil
	}
	start := time.Now()
	return t.await(ctx, wait, func(ctx context.Context) (done bool, state string) {
		return t.movedTo(ctx, client, addr, to)
	}, func() string {
		return fmt.Sprintf("%s is announced by %s, after %s", addr, to, explain.Duration(time.Since(start)))
	})
}

// prefer sets the node that should announce a Service; an empty one removes the wish.
func prefer(ctx context.Context, client kubernetes.Interface, s *corev1.Service, node string) error {
	var value any
	if node != "" {
		value = node
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": s.UID, "annotations": map[string]any{kube.AnnotationAnnounceFrom: value}},
	})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Services(s.Namespace).Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("annotate Service %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

// movedTo reports whether node alone announces addr, and if not what is in the way.
func (t *tool) movedTo(ctx context.Context, client kubernetes.Interface, addr netip.Addr, node string) (done bool, state string) {
	c, err := t.gather(ctx, client, question{speakers: true})
	if err != nil {
		return false, err.Error()
	}
	return c.HeldBy(addr, node)
}

// await looks until done, tells so, or gives up with the last state.
func (t *tool) await(ctx context.Context, wait time.Duration, look func(context.Context) (bool, string), told func() string) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := "no answer yet"
	for {
		done, state := look(ctx)
		if done {
			fmt.Fprintln(t.Out, told())
			return nil
		}
		if ctx.Err() == nil {
			last = state
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return fmt.Errorf("interrupted: %s", strings.TrimSuffix(last, "."))
			}
			return fmt.Errorf("%w after %s: %s", errTimeout, wait, strings.TrimSuffix(last, "."))
		case <-tick.C:
		}
	}
}
