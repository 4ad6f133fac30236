package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// defaultLab is the lab of a run that is told no other.
const defaultLab = "chaos"

// result is what is printed.
type result struct {
	Minutes        float64 `json:"minutes"`
	Seed           uint64  `json:"seed"`
	Faults         int     `json:"faults"`
	Violations     int     `json:"violations"`
	WorstGap       int64   `json:"worst_gap_ms"`
	WorstDuplicate int64   `json:"worst_duplicate_ms"`
}

var errViolated = errors.New("promises were broken")

func main() {
	minutes := flag.Float64("minutes", 30, "length of the run, without bringing the lab up and down")
	text := flag.String("seed", "", "the schedule's seed; empty: one is chosen")
	clock := flag.Bool("clock", false, "have the machine's wall clock jump, too")
	lab := flag.String("lab", defaultLab, "name of the lab")
	plan := flag.Bool("plan", false, "print the schedule and do nothing")
	always := flag.Bool("keep", false, "keep the history also if all went well")
	kept := flag.String("history", "", "check a history that was kept in this `FILE`, and do nothing else")
	flag.Parse()
	seed, err := seedOf(*text)
	if err == nil && *minutes <= 0 {
		err = fmt.Errorf("number of minutes is %v, want more than 0", *minutes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	if *kept != "" {
		exit(recheck(*kept))
	}
	progress("seed %d", seed)
	length := time.Duration(*minutes * float64(time.Minute))
	if *plan {
		for n, r := range draw(seed, length, nodeNames, *clock) {
			progress("round %d: %v", n+1, r)
		}
		exit(nil)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = rig.Run(ctx, *lab, defaultPool, func(ctx context.Context, c *cluster.Cluster) error {
		h, err := run(ctx, c, draw(seed, length, nodeNames, *clock))
		if h != nil { // also what led to a run that could not go on
			err = errors.Join(err, conclude(ctx, c, h, result{Minutes: *minutes, Seed: seed}, *always))
		}
		return err
	})
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// seedOf reads a seed, or chooses one that is short enough to be typed.
func seedOf(text string) (uint64, error) {
	if text == "" {
		return uint64(rand.Uint32()), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read seed: %w", err)
	}
	return seed, nil
}

// conclude checks the history and prints the result. It is an error if a promise was broken; the history is kept then, and what
// Invar has logged.
func conclude(ctx context.Context, c *cluster.Cluster, h *History, r result, always bool) error {
	v := judge(h)
	r.Faults, r.Violations = len(h.Faults), len(v.Violations)
	r.WorstGap, r.WorstDuplicate = v.WorstGap.Milliseconds(), v.WorstDuplicate.Milliseconds()
	err := json.NewEncoder(os.Stdout).Encode(r)
	if r.Violations > 0 {
		err = errors.Join(err, errViolated)
	}
	if r.Violations > 0 || always {
		base := filepath.Join("bin", fmt.Sprintf("chaos-%d", r.Seed))
		err = errors.Join(err, keep(h, base+".json.gz"), keepLogs(ctx, c, base+".log"))
	}
	return err
}

// recheck checks a history that was kept.
func recheck(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	var h History
	if err := json.NewDecoder(unzipped).Decode(&h); err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	if v := judge(&h); len(v.Violations) > 0 {
		return errViolated
	}
	return nil
}

// judge checks the history and tells what it was like.
func judge(h *History) Verdict {
	v := Check(h)
	for kind, d := range v.Gaps {
		progress("longest gap during %s: %d ms", or(kind, "no fault"), d.Milliseconds())
	}
	for kind, d := range v.Duplicates {
		progress("longest duplicate during %s: %d ms", or(kind, "no fault"), d.Milliseconds())
	}
	progress("%d frames, %d connections; the machine paused for %.1f of %.1f s", len(h.Frames), len(h.Attempts), v.Noise.Seconds(),
		h.End.Seconds())
	for _, violation := range v.Violations {
		progress("VIOLATION: %s", violation)
	}
	return v
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// keep writes the history to a file.
func keep(h *History, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keep the history: %w", err)
	}
	zipped := gzip.NewWriter(f)
	err = json.NewEncoder(zipped).Encode(h)
	if err := errors.Join(err, zipped.Close(), f.Close()); err != nil {
		return fmt.Errorf("keep the history: %w", err)
	}
	progress("the history, which began at %s, is in %s", h.Start.Format(time.RFC3339Nano), path)
	return nil
}

// keepLogs writes what Invar's pods that are there now have logged to a file.
func keepLogs(ctx context.Context, c *cluster.Cluster, path string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	text, err := c.Kubectl(ctx, "-n", cluster.Namespace, "logs", "-l", "app=metallb", "--prefix", "--tail=-1")
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep the logs: %w", err)
	}
	progress("the logs of Invar's pods are in %s", path)
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "chaos: "+format+"\n", args...)
}
