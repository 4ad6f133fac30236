package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"
)

func main() {
	var r runner
	seed := flag.Uint64("seed", 0, "tell the course of this schedule and no other; 0: run many")
	flag.IntVar(&r.schedules, "schedules", 10000, "how many schedules to run")
	flag.Uint64Var(&r.first, "first", 1, "seed of the first schedule")
	without := flag.String("without", "", "leave out a measure of the speakers, to see its worth: denial, refresh, direct, background, seek, sightings, rolls or all")
	grow := flag.Bool("grow", false, "measure instead how the time and the messages of a failover grow with the number of nodes")
	flag.Parse()
	profile, ok := measures.without(*without)
	r.options.profile = profile
	switch {
	case !ok || flag.NArg() > 0 || r.schedules < 1 || r.first < 1:
		flag.Usage()
		os.Exit(2)
	case *grow:
		growAll(os.Stdout, r.options)
	case *seed > 0:
		ok = tell(os.Stdout, *seed, r.options)
	default:
		ok = r.run(os.Stdout, os.Stderr)
	}
	if !ok {
		os.Exit(1)
	}
}

// tell prints the course of one schedule and reports whether all promises were kept.
func tell(w io.Writer, seed uint64, o options) bool {
	o.tracing = true
	out := replay(seed, o)
	for _, line := range out.log {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "seed %d: %d addresses claimed, %+v\n", seed, out.claims, out.figures)
	return out.violation == nil
}

// runner runs many schedules, some of them at a time.
type runner struct {
	options
	schedules int
	first     uint64

	mu         sync.Mutex
	next       uint64
	done       int
	violations int
	figures
}

// summary is what is printed in the end: times in milliseconds.
type summary struct {
	Schedules    int     `json:"schedules"`
	Violations   int     `json:"violations"`
	MaxDuplicate float64 `json:"max_duplicate_ms"`
	MaxGap       float64 `json:"max_gap_ms"`
}

// run prints the summary on out, and on log what happens. It reports whether all promises were kept.
func (r *runner) run(out, log io.Writer) bool {
	r.next = r.first
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed, ok := r.take(); ok; seed, ok = r.take() {
				r.note(replay(seed, r.options), log)
			}
		})
	}
	wg.Wait()
	err := json.NewEncoder(out).Encode(summary{
		Schedules: r.done, Violations: r.violations,
		MaxDuplicate: milliseconds(r.overlap), MaxGap: milliseconds(r.gap),
	})
	fmt.Fprintf(log, "where less is promised: duplicate after a partition, from its end, %v ms, and while frames get lost %v ms; "+
		"gap in a part of the LAN with no more than half of the nodes %v ms, and while frames get lost %v ms\n",
		milliseconds(r.overlapHealed), milliseconds(r.overlapLossy), milliseconds(r.gapMinor), milliseconds(r.gapLossy))
	return r.violations == 0 && err == nil
}

// take returns the next seed, if there is one.
func (r *runner) take() (uint64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seed := r.next
	r.next++
	return seed, seed-r.first < uint64(r.schedules)
}

// note counts what came of a schedule. Of one in which a promise was broken it tells the course.
func (r *runner) note(o outcome, log io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done++
	r.add(o.figures)
	if o.violation != nil {
		if r.violations++; r.violations <= 3 {
			tell(log, o.seed, r.options)
		}
		fmt.Fprintf(log, "seed %d, after %v: %s\n", o.seed, o.violation.at, o.violation.what)
	}
	if r.done%1000 == 0 {
		fmt.Fprintf(log, "%d of %d schedules, %d violations\n", r.done, r.schedules, r.violations)
	}
}

// milliseconds returns d in milliseconds, to a tenth.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}
