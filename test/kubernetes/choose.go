package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// exception is a spec that is not run.
type exception struct{ spec, reason string }

// plan says what becomes of each spec that is about Services of type LoadBalancer.
type plan struct {
	run     []string
	leftOut []exception
}

// about matches the name of a spec that is about Services of type LoadBalancer, unless its author chose other words.
var about = regexp.MustCompile(`(?i)load.?balancer`)

// choose plans the run of a suite with the given specs: of those that are about load balancers by their name or by also, it runs
// all but those left out. It is an error if a row of a table names a spec that the suite does not have, or names one twice.
func choose(specs []string, leftOut []exception, also []string) (plan, error) {
	var p plan
	var errs []error
	reasons := make(map[string]string)
	for _, e := range leftOut {
		if _, twice := reasons[e.spec]; twice {
			errs = append(errs, fmt.Errorf("left out twice: %q", e.spec))
		}
		reasons[e.spec] = e.reason
		if !about.MatchString(e.spec) && !slices.Contains(also, e.spec) {
			errs = append(errs, fmt.Errorf("left out, though not about load balancers: %q", e.spec))
		}
		if !slices.Contains(specs, e.spec) {
			errs = append(errs, fmt.Errorf("left out, but the suite has no spec of this name: %q", e.spec))
		}
	}
	for _, spec := range also {
		if about.MatchString(spec) {
			errs = append(errs, fmt.Errorf("listed, though its name says what it is about: %q", spec))
		}
		if !slices.Contains(specs, spec) {
			errs = append(errs, fmt.Errorf("listed, but the suite has no spec of this name: %q", spec))
		}
	}
	for _, spec := range specs {
		if !about.MatchString(spec) && !slices.Contains(also, spec) {
			continue
		}
		if reason, out := reasons[spec]; out {
			p.leftOut = append(p.leftOut, exception{spec, reason})
		} else {
			p.run = append(p.run, spec)
		}
	}
	if len(p.run) == 0 {
		errs = append(errs, errors.New("no spec is left to run"))
	}
	return p, errors.Join(errs...)
}

// filter returns the specs that match an expression; an empty one matches all.
func filter(specs []string, expression string) ([]string, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("parse the expression for specs: %w", err)
	}
	specs = slices.DeleteFunc(slices.Clone(specs), func(s string) bool { return !re.MatchString(s) })
	if len(specs) == 0 {
		return nil, fmt.Errorf("no spec matches %q", expression)
	}
	return specs, nil
}
