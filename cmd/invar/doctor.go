package main

import (
	"github.com/spf13/cobra"

	"github.com/invar-lb/invar/pkg/doctor"
)

func newDoctorCommand(t *tool) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong with the cluster",
		Long: `Look for what is wrong with the cluster: settings of kube-proxy, labels, blocked ports, overlapping addresses, foreign hosts,
interfaces, kernels, other load balancers, clocks and versions. Each finding has what was seen, and what to do about it.

The exit code is 3 if something was found.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			facts, err := t.facts(cmd.Context(), name)
			if err != nil {
				return err
			}
			r := doctor.Examine(facts)
			if err := t.print(r, func(p *page) { writeReport(p, &r) }); err != nil {
				return err
			}
			if len(r.Findings) > 0 {
				return errNo
			}
			return nil
		},
	}
	addConfigFlag(cmd, &name)
	return cmd
}

func writeReport(p *page, r *doctor.Report) {
	for _, f := range r.Findings {
		p.line("%s %s", p.bad(f.Check+":"), p.bold(f.What))
		for _, e := range f.Evidence {
			p.line("  seen: %s", e)
		}
		p.line("  do:   %s", f.Do)
		p.line("")
	}
	for _, u := range r.Unknown {
		p.line("%s %s", p.warn("not known:"), u)
	}
	verdict := p.good("nothing is wrong")
	if n := len(r.Findings); n > 0 {
		verdict = p.bad(counted(n, "fault"))
	}
	c := r.Checked
	p.line("%s; looked at %s, %s, %s and %s", verdict, counted(c.Nodes, "node"), counted(c.Speakers, "speaker"),
		counted(c.Controllers, "controller"), counted(c.Pools, "pool"))
}
