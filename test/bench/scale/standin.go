package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

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

// seedWait is how long the speakers may take to answer, all of them.
const seedWait = time.Minute

// standIn takes part until it is told to end. The nodes' addresses are this host's.
func standIn(ctx context.Context) error {
	var in standIns
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return fmt.Errorf("read what to stand in for: %w", err)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	g, ctx := errgroup.WithContext(ctx)
	for _, n := range in.Nodes {
		m, err := membership.Start(membership.Config{
			Node: n.Name, BindAddr: n.Addr, Port: membership.DefaultPort, Key: in.Key, Logger: logger.With("as", n.Name),
			OnChange: func() {},
		})
		if err != nil {
			return err
		}
		g.Go(func() error {
			m.JoinAll(ctx, func() []netip.AddrPort { return in.Seeds }, seedWait)
			<-ctx.Done()
			return m.Close()
		})
	}
	return g.Wait()
}
