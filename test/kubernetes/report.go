package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// summary is the result in one line.
type summary struct {
	Kubernetes string `json:"kubernetes"` // version of the suite and of the lab
	Specs      int    `json:"specs"`      // that were to run
	Passed     int    `json:"passed"`
	Failed     int    `json:"failed"` // all others, also those that did not run
	LeftOut    int    `json:"left_out"`
	Seconds    int    `json:"seconds"` // sum of the specs' own times, of which several run at once
}

// result is what the suite says of one spec, or of what runs before and after all specs.
type result struct {
	spec    string
	around  bool   // it is no spec
	state   string // as ginkgo has it: passed, failed, skipped, timedout, ...
	message string // why, if it has not passed
	time    time.Duration
}

// parseReport reads what ginkgo writes with --json-report.
func parseReport(text []byte) ([]result, error) {
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeText            string
			LeafNodeType            string
			State                   string
			RunTime                 time.Duration
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(text, &reports); err != nil {
		return nil, fmt.Errorf("parse ginkgo's report: %w", err)
	}
	var results []result
	for _, report := range reports {
		for _, s := range report.SpecReports {
			r := result{
				spec:  strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " "),
				state: s.State, message: s.Failure.Message, time: s.RunTime,
			}
			if s.LeafNodeType != "It" {
				r.around, r.spec = true, strings.TrimSpace(s.LeafNodeType+" "+r.spec)
			}
			results = append(results, r)
		}
	}
	return results, nil
}

// judge compares what was to run with what ran: a spec has passed, or wrong has a line about it. A spec that skips itself has not
// passed: it belongs into the table of those left out, with the reason.
func judge(run []string, results []result) (sum summary, wrong []string) {
	sum.Specs = len(run)
	seen := make(map[string]bool)
	var total time.Duration
	for _, r := range results {
		planned := slices.Contains(run, r.spec)
		if r.around && r.state == "passed" || !planned && r.state == "skipped" {
			continue // nothing to tell, or a spec that the focus left out
		}
		seen[r.spec] = true
		total += r.time
		switch {
		case !r.around && !planned:
			wrong = append(wrong, r.spec+": ran, though it was not to")
		case r.state == "passed":
			sum.Passed++
		default:
			wrong = append(wrong, strings.TrimSpace(fmt.Sprintf("%s: %s: %s", r.spec, r.state, r.message)))
		}
	}
	for _, spec := range run {
		if !seen[spec] {
			wrong = append(wrong, spec+": did not run")
		}
	}
	sum.Seconds = int(total.Seconds())
	sum.Failed = sum.Specs - sum.Passed
	return sum, wrong
}
