package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime/debug"
	"time"

	"github.com/invar-lb/invar/pkg/membership"
)

// standIns is what the process is told on its standard input that takes part in the gossip for nodes without a speaker.
type standIns struct {
	Key   []byte           // of the gossip
	Nodes []member         // to stand in for
	Seeds []netip.AddrPort // speakers
}

type member struct {
	Name string
	Addr netip.Addr
}

// heartbeat is how often each looks after another. Hundreds of them in one process are slow at times, and would find each other dead.
const heartbeat = time.Hour

// seedWait is how long a speaker may take to answer.
const seedWait = 10 * time.Second

// standIn takes part until it is told to end. The nodes' addresses are this host's. One joins after the other: a cluster's nodes have
// a processor each for that, and these share what the machine has.
func standIn(ctx context.Context) error {
	var in standIns
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return fmt.Errorf("read what to stand in for: %w", err)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	debug.SetGCPercent(400) // there is more memory than time
	var members []*membership.Members
	defer func() {
		for _, m := range members {
			_ = m.Close() // the lab goes with it
		}
	}()
	for i, n := range in.Nodes {
		m, err := membership.Start(membership.Config{
			Node: n.Name, BindAddr: n.Addr, Port: membership.DefaultPort, Key: in.Key, Logger: logger.With("as", n.Name),
			OnChange: func() {}, Heartbeat: heartbeat,
		})
		if err != nil {
			return err
		}
		members = append(members, m)
		seed := in.Seeds[i%len(in.Seeds)]
		if err := m.JoinAny(func() []netip.AddrPort { return []netip.AddrPort{seed} }, seedWait); err != nil {
			return fmt.Errorf("join %s as %s: %w", seed, n.Name, err)
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	<-ctx.Done()
	return nil
}
