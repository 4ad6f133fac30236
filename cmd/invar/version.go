package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/invar-lb/invar/pkg/daemon"
)

// versions is the answer of invar version.
type versions struct {
	Client  string       `json:"client"`
	Cluster []podVersion `json:"cluster,omitempty"`
	Error   string       `json:"error,omitempty"` // why the cluster is not known
}

// podVersion is what one pod of Invar runs.
type podVersion struct {
	Pod   string `json:"pod"`
	Node  string `json:"node"`
	Image string `json:"image"`
}

func newVersionCommand(t *tool) *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this tool and of what runs in the cluster",
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Client: daemon.Version}
			var err error
			if !clientOnly {
				v.Cluster, err = t.podVersions(cmd.Context())
			}
			if err != nil {
				v.Error = err.Error()
			}
			if e := t.print(v, v.write); e != nil {
				return e
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "don't ask the cluster")
	return cmd
}

func (v versions) write(p *page) {
	p.line("invar %s", v.Client)
	if len(v.Cluster) == 0 {
		return
	}
	rows := [][]string{{"POD", "NODE", "IMAGE"}}
	for _, c := range v.Cluster {
		rows = append(rows, []string{c.Pod, c.Node, c.Image})
	}
	p.table(rows)
}

// podVersions returns what the pods of Invar run.
func (t *tool) podVersions(ctx context.Context) ([]podVersion, error) {
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	pods, err := t.pods(ctx, client)
	if err != nil {
		return nil, err
	}
	var out []podVersion
	for i := range pods {
		p := &pods[i]
		out = append(out, podVersion{Pod: p.Name, Node: p.Spec.NodeName, Image: images(p)})
	}
	return out, nil
}

// podLabels select the pods of Invar, which are called as MetalLB's.
const podLabels = "app=metallb"

// pods returns the pods of controllers and speakers.
func (t *tool) pods(ctx context.Context, client kubernetes.Interface) ([]corev1.Pod, error) {
	pods, err := client.CoreV1().Pods(t.home).List(ctx, metav1.ListOptions{LabelSelector: podLabels})
	if err != nil {
		return nil, fmt.Errorf("list the pods of Invar: %w", err)
	}
	if len(pods.Items) == 0 {
		return nil, fmt.Errorf("no pods with label %s in namespace %s: is Invar installed there? See --invar-namespace", podLabels, t.home)
	}
	return pods.Items, nil
}

func images(p *corev1.Pod) string {
	var out []string
	for _, c := range p.Spec.Containers {
		out = append(out, c.Image)
	}
	return strings.Join(out, ", ")
}
