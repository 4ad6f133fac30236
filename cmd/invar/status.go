package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/invar-lb/invar/pkg/explain"
)

// watchEvery is the time between two looks of status --watch.
const watchEvery = time.Second

func newStatusCommand(t *tool) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show pools, Services and who announces them, members, configuration and conflicts",
		Long: "Show pools, Services and who announces them, members, configuration and conflicts.\n\n" +
			"It asks the controller; the speakers only if that can't tell, or with -o wide.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := t.client()
			if err != nil {
				return err
			}
			if watch {
				return t.watchStatus(cmd.Context(), client)
			}
			s, err := t.status(cmd.Context(), client)
			if err != nil {
				return err
			}
			return t.print(s, func(p *page) { p.status(s, time.Now()) })
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "look again each second, until interrupted")
	return cmd
}

func (t *tool) status(ctx context.Context, client kubernetes.Interface) (explain.Status, error) {
	services, err := loadBalancers(ctx, client, t.statusNamespace())
	if err != nil {
		return explain.Status{}, err
	}
	c, err := t.gather(ctx, client, question{speakers: t.output == formatWide})
	if err != nil {
		return explain.Status{}, err
	}
	var subjects []explain.Subject
	for i := range services {
		subjects = append(subjects, subjectOf(&services[i]))
	}
	return c.Status(subjects), nil
}

// statusNamespace returns the namespace of -n, and without that all: whoever asks how Invar fares means the cluster.
func (t *tool) statusNamespace() string {
	if t.flags.Namespace != nil {
		return *t.flags.Namespace
	}
	return metav1.NamespaceAll
}

// watchStatus prints the status again and again, on a terminal in place.
func (t *tool) watchStatus(ctx context.Context, client kubernetes.Interface) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		s, err := t.status(ctx, client)
		if ctx.Err() != nil {
			return nil
		}
		if t.terminal {
			_, _ = io.WriteString(t.Out, "\x1b[H\x1b[2J\x1b[3J")
		}
		if err != nil { // the API server may come back
			fmt.Fprintln(t.ErrOut, "error:", err)
		} else if err := t.print(s, func(p *page) { p.status(s, time.Now()) }); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// status writes all of it.
func (p *page) status(s explain.Status, now time.Time) {
	p.poolUse(s.Pools)
	p.line("")
	p.services(s.Services, now)
	p.line("")
	p.members(s.Members)
	p.line("")
	p.config(s.Config)
	if len(s.Conflicts) > 0 {
		p.line("")
		p.conflicts(s.Conflicts)
	}
	if p.wide && len(s.Moves) > 0 {
		p.line("")
		p.moves(s.Moves[:min(len(s.Moves), 20)], now)
	}
	p.doubts(s.Doubts)
}

func (p *page) poolUse(pools []explain.Pool) {
	if len(pools) == 0 {
		p.line("No pools.")
		return
	}
	rows := [][]string{{"POOL", "FAMILY", "IN USE", "", "SERVICES"}}
	for _, u := range pools {
		total := strconv.FormatUint(u.Total, 10)
		if u.Total >= math.MaxInt64 {
			total = "many"
		}
		rows = append(rows, []string{
			u.Name, u.Family, fmt.Sprintf("%d of %s", u.InUse, total), p.bar(u.InUse, u.Total), strconv.Itoa(u.Services),
		})
	}
	p.table(rows)
}

// barWidth is the number of characters of a bar.
const barWidth = 20

// bar draws how much of total is in use. What is not nothing shows, and only what is full looks full.
func (p *page) bar(inUse, total uint64) string {
	n := 0
	if total > 0 {
		n = int(float64(inUse) / float64(total) * barWidth)
	}
	if inUse > 0 {
		n = max(n, 1)
	}
	if inUse < total {
		n = min(n, barWidth-1)
	}
	n = min(n, barWidth)
	full := strings.Repeat("█", n)
	switch {
	case inUse >= total:
		full = p.bad(full)
	case float64(inUse) > 0.8*float64(total):
		full = p.warn(full)
	default:
		full = p.good(full)
	}
	return full + p.faint(strings.Repeat("░", barWidth-n))
}

func (p *page) services(services []explain.StatusService, now time.Time) {
	if len(services) == 0 {
		p.line("No Services of type LoadBalancer.")
		return
	}
	rows := [][]string{{"SERVICE", "ADDRESS", "POOL", "NODE", "INTERFACE", "FOR", ""}}
	for _, s := range services {
		row := []string{s.Service, "-", orDash(s.Pool), p.bad("nobody"), "-", "-", s.Note}
		if s.Addr.IsValid() {
			row[1] = s.Addr.String()
		}
		if s.Unknown {
			row[3] = p.warn("not known")
		}
		if h := s.Holder; h != nil {
			row[3], row[4] = h.Node, orDash(strings.Join(h.Interfaces, ","))
			if !h.Since.IsZero() {
				row[5] = age(h.Since, now)
			}
		}
		rows = append(rows, row)
	}
	p.table(rows)
}

func (p *page) members(members []explain.StatusMember) {
	rows := [][]string{{"NODE", "STATE", "ADDRESSES", "POD", "IMAGE"}}
	for _, m := range members {
		state, addresses := m.State, strconv.Itoa(m.Addresses)
		switch state {
		case "announcing", "leads", "stands by":
			state = p.good(state)
		case "draining", "not known":
			state = p.warn(state)
		default:
			state = p.bad(state)
		}
		if m.Controller {
			addresses = "-"
		}
		rows = append(rows, []string{orDash(m.Node), state, addresses, m.Pod, m.Image})
	}
	p.table(rows)
}

func (p *page) config(c *explain.Config) {
	if c == nil {
		p.line("Configuration: %s", p.warn("not known"))
		return
	}
	switch {
	case c.Error != "":
		p.line("%s: %s", p.bad("Configuration: the newest is not in force"), c.Error)
	case c.Pools == 1:
		p.line("Configuration: %s, 1 pool", p.good("in force"))
	default:
		p.line("Configuration: %s, %d pools", p.good("in force"), c.Pools)
	}
	for _, w := range c.Warnings {
		p.line("%s %s", p.warn("!"), w)
	}
}

func (p *page) conflicts(conflicts []explain.Conflict) {
	rows := [][]string{{"CONFLICT", "USED BY", "SEEN FROM", "ON"}}
	for _, c := range conflicts {
		rows = append(rows, []string{p.bad(c.Addr.String()), c.MAC, c.Node, c.Interface})
	}
	p.table(rows)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
