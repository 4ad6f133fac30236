// Command services measures how fast Invar gives addresses to many Services that are made at once, on a lab of its own, which
// it takes down at the end. `make bench-services N=1000` builds what it needs.
//
// It prints one line of JSON on stdout, and what it is doing on stderr.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// labName is the lab of the benchmark.
const labName = "bench"

// patience is how long all of it may take.
const patience = 10 * time.Minute

// result is what the benchmark prints.
type result struct {
	Services int `json:"services"`
	// Seconds is how long after the return of the last create the last Service had its address; 0 if it had it by then.
	Seconds float64 `json:"seconds_to_last_address"`
	// RSS is the memory of the controller's process (VmRSS) at that time, in millions of bytes.
	RSS float64 `json:"controller_rss_mb"`
}

func main() {
	n := flag.Int("n", 1000, "number of Services")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n); err != nil {
		fmt.Fprintln(os.Stderr, "bench-services:", err)
		os.Exit(1)
	}
}

// run measures on a lab of its own and prints the result.
func run(ctx context.Context, n int) error {
	res, err := rig.Measure(ctx, labName, n, measure)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// measure makes n Services and waits until each has its address.
func measure(ctx context.Context, c *cluster.Cluster, n int) (result, error) {
	pid, err := c.PID(ctx, cluster.Namespace, "component=controller", "", "controller")
	if err != nil {
		return result{}, err
	}
	before, err := cluster.MemoryOf(pid)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	last, err := rig.Arrivals(ctx, c.Kube, n)
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	if err := rig.CreateServices(ctx, c.Kube, n, nil); err != nil {
		return result{}, err
	}
	created := time.Now()
	progress("%d Services created in %.2f s", n, created.Sub(start).Seconds())
	arrived := <-last
	if arrived.Err != nil {
		return result{}, arrived.Err
	}
	wait := arrived.At.Sub(created)
	after, err := cluster.MemoryOf(pid)
	if err != nil {
		return result{}, err
	}
	progress("the last address came %.3f s after the last create returned; the controller's memory: "+
		"%.1f MB before, %.1f MB now, %.1f MB at most",
		wait.Seconds(), before.Now, after.Now, after.Peak)
	return result{Services: n, Seconds: max(0, wait.Round(time.Millisecond).Seconds()), RSS: after.Now}, nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-services: "+format+"\n", args...)
}
