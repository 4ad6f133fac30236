// Command soak leaves a lab alone for a long time while both cores are busy, and counts what should not happen then: a false
// failover is worse than a slow one. `make soak MINUTES=30` builds what it needs.
//
// It prints one line of JSON on stdout, and what it is doing on stderr. Its exit code is 1 if an address has moved.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/bench/internal/rig"
	"github.com/invar-lb/invar/test/cluster"
)

// labName is the lab of the soak.
const labName = "soak"

// patience is how long the lab may take to come to rest.
const patience = 5 * time.Minute

// The speakers' metrics that count what should not happen.
const (
	movesMetric      = "invar_speaker_moves_total"
	suspicionsMetric = "invar_speaker_suspicions_total"
	rejoinsMetric    = "invar_speaker_rejoins_total"
	announcedMetric  = "metallb_speaker_announced"
)

// result is what is printed.
type result struct {
	Minutes   float64 `json:"minutes"`
	Addresses int     `json:"addresses"`
	// Load is the mean of the machine's load average over a minute, as seen each minute.
	Load float64 `json:"load"`
	// Moves is how often an address got another holder, Suspicions how often a node was silent on the wire for one watcher, and
	// Rejoins how often a speaker fell silent because it doubted what it knew.
	Moves      float64 `json:"moves"`
	Suspicions float64 `json:"suspicions"`
	Rejoins    float64 `json:"rejoins"`
}

var errMoved = errors.New("an address moved though nothing was wrong")

func main() {
	minutes := flag.Float64("minutes", 30, "length of the soak")
	n := flag.Int("n", 60, "number of addresses")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	res, err := rig.Measure(ctx, labName, *n, func(ctx context.Context, c *cluster.Cluster, n int) (result, error) {
		return soak(ctx, c, n, time.Duration(*minutes*float64(time.Minute)))
	})
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(res)
	}
	if err == nil && res.Moves > 0 {
		err = errMoved
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// soak makes the addresses, waits for rest, and counts from then on while the processors are busy.
func soak(ctx context.Context, c *cluster.Cluster, n int, length time.Duration) (result, error) {
	if err := prepare(ctx, c, n); err != nil {
		return result{}, err
	}
	before, err := count(ctx, c)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	progress("%d processors are kept busy for %s", runtime.NumCPU(), length)
	for range runtime.NumCPU() {
		go burn(ctx)
	}
	res := result{Minutes: length.Minutes(), Addresses: n}
	begin, looks := time.Now(), 0.0
	for time.Since(begin) < length {
		select {
		case <-ctx.Done():
			return result{}, ctx.Err()
		case <-time.After(min(time.Minute, length)):
		}
		load, err := loadAverage()
		if err != nil {
			return result{}, err
		}
		res.Load, looks = res.Load+load, looks+1
		after, err := count(ctx, c)
		if err != nil {
			progress("no look after %.0f minutes: %v", time.Since(begin).Minutes(), err) // a busy API server, perhaps
			continue
		}
		res.Moves, res.Suspicions, res.Rejoins = after.moves-before.moves, after.suspicions-before.suspicions,
			after.rejoins-before.rejoins
		progress("after %.0f minutes, load %.1f: %v moves, %v suspicions, %v rejoins", time.Since(begin).Minutes(), load,
			res.Moves, res.Suspicions, res.Rejoins)
	}
	res.Load /= looks
	return res, nil
}

// prepare makes n Services and waits until each address is announced by one speaker.
func prepare(ctx context.Context, c *cluster.Cluster, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not within "+patience.String()))
	defer cancel()
	if err := c.ApplyText(ctx, rig.Echo("DaemonSet")); err != nil {
		return err
	}
	if err := c.Rollout(ctx, rig.Namespace, "daemonset/echo"); err != nil {
		return err
	}
	if err := rig.CreateServices(ctx, c.Kube, n, nil); err != nil {
		return err
	}
	return cluster.EventuallyEvery(ctx, time.Second, func() error {
		got, err := count(ctx, c)
		if err == nil && got.announced != n {
			err = fmt.Errorf("%d addresses are announced, want %d", got.announced, n)
		}
		return err
	})
}

// burn keeps one processor busy.
func burn(ctx context.Context) {
	for n := uint64(1); ctx.Err() == nil; n++ {
		for range 1 << 16 {
			n ^= n << 13
		}
	}
}

// counts are sums over all speakers.
type counts struct {
	moves, suspicions, rejoins float64
	announced                  int
}

// count asks every speaker. Addresses that nobody held before have not moved.
func count(ctx context.Context, c *cluster.Cluster) (all counts, err error) {
	pods, err := c.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "component=speaker"})
	if err != nil {
		return counts{}, fmt.Errorf("list speakers: %w", err)
	}
	for _, pod := range pods.Items {
		for _, m := range []struct {
			name string
			sum  *float64
		}{{movesMetric, &all.moves}, {suspicionsMetric, &all.suspicions}, {rejoinsMetric, &all.rejoins}} {
			lines, err := c.Metrics(ctx, pod.Name, m.name)
			if err != nil {
				return counts{}, err
			}
			for _, line := range lines {
				v, err := cluster.Value(line)
				if err != nil {
					return counts{}, err
				}
				if !strings.Contains(line, `cause="first"`) {
					*m.sum += v
				}
			}
		}
		lines, err := c.Metrics(ctx, pod.Name, announcedMetric)
		if err != nil {
			return counts{}, err
		}
		all.announced += len(lines)
	}
	return all, nil
}

// loadAverage returns the number of threads that ran or wanted to in the last minute, see proc_loadavg(5).
func loadAverage() (load float64, err error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		_, err = fmt.Sscan(string(text), &load)
	}
	if err != nil {
		return 0, fmt.Errorf("read load average: %w", err)
	}
	return load, nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "soak: "+format+"\n", args...)
}
