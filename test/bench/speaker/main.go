// Command speaker measures what a speaker needs that announces many addresses, on a lab of its own, which it takes down at the
// end. `make bench-speaker N=1000` builds what it needs.
//
// All addresses are one speaker's, for their Services want to be announced from its node. It prints one line of JSON on stdout,
// and what it is doing on stderr.
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
const labName = "benchspeaker"

// The CPU time is taken in several windows, since a machine that is shared is now and then half as fast as at other times. In two of
// them each address is announced again once at least, since that is done every 72 to 90 seconds; kubelet probes the speaker all the time.
const (
	window  = 60 * time.Second
	windows = 3
)

// result is what the benchmark prints.
type result struct {
	Addresses int `json:"addresses"`
	// RSS is the memory of the speaker's process (VmRSS) at the end, in millions of bytes.
	RSS float64 `json:"speaker_rss_mb"`
	// CPU is how much of one core the speaker took while nothing was asked of it: the median of the windows, and the worst.
	CPU      float64 `json:"idle_cpu_percent"`
	CPUWorst float64 `json:"idle_cpu_worst_percent"`
}

// Targets, which a machine may miss.
const (
	targetRSS = 45
	targetCPU = 0.5
)

func main() {
	n := flag.Int("n", 1000, "number of addresses")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n); err != nil {
		fmt.Fprintln(os.Stderr, "bench-speaker:", err)
		os.Exit(1)
	}
}

// run measures on a lab of its own and prints the result.
func run(ctx context.Context, n int) error {
	res, err := rig.Measure(ctx, labName, n, measure)
	if err != nil {
		return err
	}
	if res.RSS > targetRSS {
		progress("warning: the target of speaker_rss_mb is %d", targetRSS)
	}
	if res.CPU >= targetCPU {
		progress("warning: the target of idle_cpu_percent is less than %v", targetCPU)
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// measure gives one speaker n addresses, waits until it has nothing left to do, and looks at its process.
func measure(ctx context.Context, c *cluster.Cluster, n int) (result, error) {
	node := c.Nodes()[0].Name
	s, err := findSpeaker(ctx, c, node)
	if err != nil {
		return result{}, err
	}
	idle, err := s.usage(ctx, 1)
	if err != nil {
		return result{}, err
	}
	progress("the speaker of %s without addresses: %s", node, idle)
	if err := s.give(ctx, n); err != nil {
		return result{}, err
	}
	if err := s.waitQuiet(ctx, n); err != nil {
		return result{}, err
	}
	use, err := s.usage(ctx, windows)
	if err != nil {
		return result{}, err
	}
	if err := s.check(ctx, n); err != nil {
		return result{}, err
	}
	progress("the speaker of %s with %d addresses: %s", node, n, use)
	return result{Addresses: n, RSS: use.memory.Now, CPU: rig.Hundredths(use.cpu), CPUWorst: rig.Hundredths(use.worst)}, nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-speaker: "+format+"\n", args...)
}
