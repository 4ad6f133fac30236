// Package rig is what the benchmarks and chaos on a lab have in common: a lab of their own with Invar installed, and many Services.
package rig

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
)

// Namespace is made for the Services of a benchmark.
const Namespace = "bench"

// ManyAddresses are the 65,536 addresses that are given to benchmarks.
const ManyAddresses = "10.50.0.0/16"

// objects are what is needed beside Invar itself. The addresses are separated by commas.
func objects(addresses string) string {
	return `
apiVersion: v1
kind: ConfigMap
metadata:
  namespace: ` + cluster.Namespace + `
  name: config
data:
  config: |
    address-pools:
    - name: default
      protocol: layer2
      addresses: [` + addresses + `]
---
apiVersion: v1
kind: Namespace
metadata:
  name: ` + Namespace + `
`
}

// Run brings a lab of the given name up, with Invar and a pool of the addresses, which are separated by commas, calls measure, and takes
// the lab down in any case. It works in the top folder of the repository, where bin/lab and bin/invar-image.tar must be.
func Run(ctx context.Context, name, addresses string, measure func(context.Context, *cluster.Cluster) error) (err error) {
	// What an earlier run that was killed left behind would spoil the figures.
	if err := lab(ctx, name, "down"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab(context.WithoutCancel(ctx), name, "down")) }()
	if err := lab(ctx, name, "up", "--image", filepath.Join("bin", "invar-image.tar")); err != nil {
		return err
	}
	c, err := cluster.Open(ctx, name)
	if err != nil {
		return err
	}
	if err := install(ctx, c, addresses); err != nil {
		return err
	}
	return measure(ctx, c)
}

// Measure is Run for a benchmark with n Services that has one result.
func Measure[T any](ctx context.Context, name string, n int,
	measure func(context.Context, *cluster.Cluster, int) (T, error),
) (result T, err error) {
	if err := checkServices(n); err != nil {
		return result, err
	}
	err = Run(ctx, name, ManyAddresses, func(ctx context.Context, c *cluster.Cluster) (err error) {
		result, err = measure(ctx, c, n)
		return err
	})
	return result, err
}

// lab runs a command of bin/lab.
func lab(ctx context.Context, name, command string, args ...string) error {
	args = append([]string{command, "--name", name}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join("bin", "lab"), args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

func install(ctx context.Context, c *cluster.Cluster, addresses string) error {
	if err := c.Apply(ctx, "manifests/invar.yaml"); err != nil {
		return err
	}
	if err := c.ApplyText(ctx, objects(addresses)); err != nil {
		return err
	}
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if err := c.Rollout(ctx, cluster.Namespace, what); err != nil {
			return err
		}
	}
	return nil
}

// SpeakerLabels select the speakers' pods.
const SpeakerLabels = "component=speaker"

// Together returns nil if each node has one speaker, and each of them sees all. A speaker that is dead doesn't tell; so this
// also finds one whose death is not yet known to Kubernetes.
func Together(ctx context.Context, c *cluster.Cluster) error {
	pods, err := c.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: SpeakerLabels})
	if err != nil {
		return fmt.Errorf("list speakers: %w", err)
	}
	nodes := len(c.Nodes())
	if len(pods.Items) != nodes {
		return fmt.Errorf("there are %d speakers, want %d", len(pods.Items), nodes)
	}
	want := fmt.Sprintf("invar_speaker_members %d", nodes)
	for _, pod := range pods.Items {
		lines, err := c.Metrics(ctx, pod.Name, "invar_speaker_members")
		if err != nil {
			return err
		}
		if len(lines) != 1 || lines[0] != want {
			return fmt.Errorf("the speaker of %s says %v, want %q", pod.Spec.NodeName, lines, want)
		}
	}
	return nil
}

// Hundredths rounds a figure to what is worth printing of it.
func Hundredths(v float64) float64 { return math.Round(v*100) / 100 }
