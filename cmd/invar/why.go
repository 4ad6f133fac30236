package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/invar-lb/invar/pkg/explain"
)

func newWhyCommand(t *tool) *cobra.Command {
	return &cobra.Command{
		Use:   "why SERVICE",
		Short: "Tell why a Service has no address, or who announces it and why nobody else does",
		Long: "Tell why a Service has no address, or who announces it and why nobody else does.\n\n" +
			"SERVICE is a name in the namespace of -n or of the context, or namespace/name. It asks the controller and every\n" +
			"speaker, for which you need the right to create pods/portforward in Invar's namespace. What can't be had is said.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: t.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.why(cmd.Context(), args[0])
		},
	}
}

func (t *tool) why(ctx context.Context, name string) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	service, err := t.serviceNamed(ctx, client, name)
	if err != nil {
		return err
	}
	subject := subjectOf(service)
	c, _ := t.gather(ctx, client, question{service: subject.Name, speakers: true}) // what is known without them is worth saying
	why := c.Why(subject)
	if err := t.print(why, func(p *page) { p.why(why, time.Now()) }); err != nil {
		return err
	}
	if !why.Served {
		return errNo
	}
	return nil
}

// why writes the page of one Service.
func (p *page) why(w explain.Why, now time.Time) {
	mark := p.good("✓")
	if !w.Served {
		mark = p.bad("✗")
	}
	p.line("%s %s", mark, p.bold(w.Service))
	p.line("  %s", w.Summary)
	if len(w.Pools) > 0 {
		p.line("")
		p.pools(w.Pools)
	}
	for _, a := range w.Addresses {
		p.line("")
		p.whyAddress(a, now)
	}
	p.doubts(w.Doubts)
}

// pools writes what each pool says.
func (p *page) pools(verdicts []explain.Verdict) {
	rows := [][]string{{"POOL", "SAYS"}}
	for _, v := range verdicts {
		what, says := v.Pool, p.good("gives it an address")
		if v.Pool == "" {
			what = "-"
		}
		if v.Family != "" && v.Refusal == "" {
			says = p.good("gives it an " + v.Family + " address")
		}
		if v.Refusal != "" {
			says = v.Refusal
		}
		if v.Addr.IsValid() {
			says = fmt.Sprintf("address %s: %s", v.Addr, says)
			if v.Refusal == "" {
				says = p.good(fmt.Sprintf("gives it %s, which it asks for", v.Addr))
			}
		}
		rows = append(rows, []string{what, says})
	}
	p.table(rows)
}

// whyAddress writes who announces an address, who does not, and how it got there.
func (p *page) whyAddress(a explain.WhyAddress, now time.Time) {
	var facts []string
	if a.Pool != "" {
		facts = append(facts, "pool "+a.Pool)
	}
	for _, h := range a.Holders {
		if !h.Since.IsZero() {
			facts = append(facts, fmt.Sprintf("announced by %s for %s", h.Node, age(h.Since, now)))
		}
	}
	if len(a.With) > 0 {
		facts = append(facts, "shared with "+strings.Join(a.With, ", "))
	}
	p.line("%s", strings.TrimSuffix(p.bold(a.Addr.String())+"  "+strings.Join(facts, "; "), "  "))
	if len(a.Nodes) > 0 {
		rows := [][]string{{"NODE", ""}}
		for _, n := range a.Nodes {
			text := n.Text
			if n.Holds {
				text = p.good(text)
			}
			rows = append(rows, []string{n.Node, text})
		}
		p.table(rows)
	}
	if len(a.Moves) > 0 {
		p.line("")
		p.moves(a.Moves, now)
	}
}

// moves writes how addresses moved.
func (p *page) moves(moves []explain.Move, now time.Time) {
	rows := [][]string{{"MOVED", "ADDRESS", "FROM", "TO", "CAUSE", "TOOK"}}
	for _, m := range moves {
		took := "-"
		if m.Took > 0 {
			took = explain.Duration(m.Took)
		}
		from := m.From
		if from == "" {
			from = "-"
		}
		rows = append(rows, []string{age(m.At, now) + " ago", m.Addr.String(), from, m.To, m.Cause, took})
	}
	p.table(rows)
}

// doubts writes what is not known and what is wrong with Invar itself.
func (p *page) doubts(doubts []string) {
	if len(doubts) == 0 {
		return
	}
	p.line("")
	for _, d := range doubts {
		p.line("%s %s", p.warn("!"), strings.ReplaceAll(d, "\n", "\n  "))
	}
}

// age returns the time since a moment, as kubectl shows it.
func age(since, now time.Time) string {
	d := max(0, now.Sub(since))
	switch {
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
