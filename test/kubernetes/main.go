// Command kubernetes runs what Kubernetes' own end-to-end suite has about Services of type LoadBalancer against Invar on a lab, and
// prints a line of JSON. `make test-kubernetes` builds the suite and brings the lab up.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	var o options
	flag.StringVar(&o.folder, "folder", filepath.Join("bin", "kubernetes"), "the `FOLDER` of e2e.test, ginkgo and the pods' images")
	flag.StringVar(&o.only, "run", "", "run only the specs that match a `REGEXP`")
	flag.IntVar(&o.procs, "procs", 8, "how many specs run at a time: most of them wait most of the time")
	check := flag.Bool("check", false, "only compare the table of specs with the suite")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, *check); err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	folder string
	only   string
	procs  int
}

// run runs the specs on the lab named by LAB_NAME. It returns an error if one of them has not passed.
func run(ctx context.Context, o options, check bool) error {
	s := suite{folder: o.folder}
	all, err := s.list(ctx)
	if err != nil {
		return err
	}
	plan, err := choose(all, leftOut, alsoAbout)
	if err != nil || check {
		return err
	}
	if plan.run, err = filter(plan.run, o.only); err != nil {
		return err
	}
	for _, e := range plan.leftOut {
		fmt.Fprintf(os.Stderr, "left out: %s: %s\n", e.spec, e.reason)
	}
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	results, err := s.runOn(ctx, os.Getenv("LAB_NAME"), plan.run, o.procs)
	if err != nil {
		return err
	}
	sum, wrong := judge(plan.run, results)
	sum.Kubernetes, sum.LeftOut = version, len(plan.leftOut)
	if err := json.NewEncoder(os.Stdout).Encode(sum); err != nil {
		return fmt.Errorf("print the summary: %w", err)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not passed:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}
