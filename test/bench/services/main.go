// Command services measures how fast Invar gives addresses to many Services that are made at once, on a lab of its own, which
// it takes down at the end. `make bench-services N=1000` builds what it needs.
//
// It prints one line of JSON on stdout, and what it is doing on stderr.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// labName is the lab of the benchmark.
const labName = "bench"

// result is what the benchmark prints.
type result struct {
	Services int `json:"services"`
	// Seconds is how long after the return of the last create the last Service had its address; 0 if it had it by then.
	Seconds float64 `json:"seconds_to_last_address"`
	// RSS is the memory of the controller's process (VmRSS) at that time, in millions of bytes.
	RSS float64 `json:"controller_rss_mb"`
}

func main() {
	n := flag.Int("n", 1000, "number of Services; each takes a node port, of which there are 2,768")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n); err != nil {
		fmt.Fprintln(os.Stderr, "bench-services:", err)
		os.Exit(1)
	}
}

// run brings the lab up, measures, takes the lab down in any case, and prints the result.
func run(ctx context.Context, n int) (err error) {
	if n < 1 {
		return fmt.Errorf("number of Services is %d, want at least 1", n)
	}
	// What an earlier run that was killed left behind would spoil the figures.
	if err := lab(ctx, "down"); err != nil {
		return err
	}
	var res result
	defer func() {
		err = errors.Join(err, lab(context.WithoutCancel(ctx), "down"))
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(res)
		}
	}()
	if err := lab(ctx, "up", "--image", filepath.Join("bin", "invar-image.tar")); err != nil {
		return err
	}
	c, err := cluster.Open(ctx, labName)
	if err != nil {
		return err
	}
	if err := install(ctx, c); err != nil {
		return err
	}
	res, err = measure(ctx, c, n)
	return err
}

// lab runs a command of bin/lab.
func lab(ctx context.Context, command string, args ...string) error {
	args = append([]string{command, "--name", labName}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join("bin", "lab"), args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// objects are what the benchmark needs beside Invar itself.
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
  name: ` + namespace + `
`

func install(ctx context.Context, c *cluster.Cluster) error {
	progress("installing Invar")
	if err := c.Apply(ctx, "manifests/invar.yaml"); err != nil {
		return err
	}
	if err := c.ApplyText(ctx, objects); err != nil {
		return err
	}
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if _, err := c.Kubectl(ctx, "-n", cluster.Namespace, "rollout", "status", what, "--timeout=180s"); err != nil {
			return err
		}
	}
	return nil
}

// measure makes n Services and waits until each has its address.
func measure(ctx context.Context, c *cluster.Cluster, n int) (result, error) {
	pid, err := c.PID(ctx, cluster.Namespace, "component=controller", "", "controller")
	if err != nil {
		return result{}, err
	}
	before, err := memoryOf(pid)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	last, err := arrivals(ctx, c.Kube, n)
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	if err := createAll(ctx, c.Kube, n); err != nil {
		return result{}, err
	}
	created := time.Now()
	progress("%d Services created in %.2f s", n, created.Sub(start).Seconds())
	arrived := <-last
	if arrived.err != nil {
		return result{}, arrived.err
	}
	wait := arrived.at.Sub(created)
	after, err := memoryOf(pid)
	if err != nil {
		return result{}, err
	}
	progress("the last address came %.3f s after the last create returned; the controller's memory: "+
		"%.1f MB before, %.1f MB now, %.1f MB at most",
		wait.Seconds(), before.now, after.now, after.peak)
	return result{Services: n, Seconds: max(0, wait.Round(time.Millisecond).Seconds()), RSS: after.now}, nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-services: "+format+"\n", args...)
}
