// Package rig is what the benchmarks on a lab have in common: a lab of their own with Invar installed, and many Services.
package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/invar-lb/invar/test/cluster"
)

// Namespace is made for the Services of a benchmark.
const Namespace = "bench"

// objects are what a benchmark needs beside Invar itself.
const objects = `
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
      addresses:
      - 10.50.0.0/16
---
apiVersion: v1
kind: Namespace
metadata:
  name: ` + Namespace + `
`

// Run brings a lab of the given name up, with Invar and a pool of 65,536 addresses, calls measure, and takes the lab down in any
// case. It works in the top folder of the repository, where bin/lab and bin/invar-image.tar must be.
func Run(ctx context.Context, name string, measure func(context.Context, *cluster.Cluster) error) (err error) {
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
	if err := install(ctx, c); err != nil {
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
	err = Run(ctx, name, func(ctx context.Context, c *cluster.Cluster) (err error) {
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

func install(ctx context.Context, c *cluster.Cluster) error {
	if err := c.Apply(ctx, "manifests/invar.yaml"); err != nil {
		return err
	}
	if err := c.ApplyText(ctx, objects); err != nil {
		return err
	}
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if err := c.Rollout(ctx, cluster.Namespace, what); err != nil {
			return err
		}
	}
	return nil
}
