// Command failover measures for how long an address is out of reach when a node or a speaker fails or leaves, on a lab of its
// own, which it takes down at the end. `make bench-failover ROUNDS=20 KINDS=cable-cut,rollout` builds what it needs.
//
// A host on the LAN opens a TCP connection to the address every 5 ms, and next to it another one asks by ARP every 5 ms who has
// the address, as a client does that has never heard of it. In each round a fault is injected into the node that answers; when
// connections succeed again, it is undone. Both ends of a round are quiet: all is ready, no connection fails for a second, and
// one node answers.
//
// It prints JSON on stdout, a line for each round and a summary for each kind of fault, and what it is doing on stderr.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// labName is the lab of the benchmark.
const labName = "failover"

// patience is how long anything may take: a failover, and the way back to quiet.
const patience = 3 * time.Minute

func main() {
	rounds := flag.Int("rounds", 20, "rounds of each kind")
	names := flag.String("kinds", "", "kinds of fault, separated by commas; empty: all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *rounds, *names); err != nil {
		fmt.Fprintln(os.Stderr, "bench-failover:", err)
		os.Exit(1)
	}
}

// run measures on a lab of its own and prints the results as they come.
func run(ctx context.Context, rounds int, names string) error {
	if rounds < 1 {
		return fmt.Errorf("number of rounds is %d, want 1 or more", rounds)
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	return rig.Run(ctx, labName, rig.ManyAddresses, func(ctx context.Context, c *cluster.Cluster) error {
		b := &bench{Cluster: c}
		if err := b.prepare(ctx); err != nil {
			return err
		}
		for _, k := range chosen {
			if err := b.measure(ctx, k, rounds); err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
		}
		return nil
	})
}

// bench is a lab with a Service of policy Local and a pod of it on each node, so that no connection goes to a pod on a node
// that is lost.
type bench struct {
	*cluster.Cluster
	addr netip.AddrPort
}

// measure runs the rounds of one kind and prints their lines and the summary, also if a round fails and it ends early.
func (b *bench) measure(ctx context.Context, k kind, rounds int) error {
	round := func(ctx context.Context) (line, error) { return b.round(ctx, k) }
	if k.mass {
		m, err := b.newMass(ctx)
		if err != nil {
			return err
		}
		round = m.round
	}
	out := json.NewEncoder(os.Stdout)
	var lines []line
	var failed error
	for n := 1; n <= rounds && failed == nil; n++ {
		progress("%s, round %d of %d", k.name, n, rounds)
		l, err := round(ctx)
		if err != nil {
			failed = fmt.Errorf("round %d: %w", n, err)
			break
		}
		l.Kind, l.Round = k.name, n
		lines = append(lines, l)
		failed = out.Encode(l)
	}
	if len(lines) == 0 {
		return failed
	}
	return errors.Join(failed, out.Encode(summarize(k.name, lines)))
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-failover: "+format+"\n", args...)
}
