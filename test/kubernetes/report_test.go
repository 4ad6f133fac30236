package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// report has what ginkgo writes, as far as it is read; the rest is left out.
const report = `[{"SuitePath": "/e2e", "SuiteSucceeded": false, "SpecReports": [
  {"ContainerHierarchyTexts": null, "LeafNodeType": "SynchronizedBeforeSuite", "LeafNodeText": "", "State": "passed", "RunTime": 5},
  {"ContainerHierarchyTexts": ["[sig-network] LoadBalancers", "[Slow]"], "LeafNodeType": "It", "LeafNodeText": "should work", "State": "passed", "RunTime": 2000000000},
  {"ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeType": "It", "LeafNodeText": "should answer", "State": "failed", "RunTime": 1500000000, "Failure": {"Message": "no answer"}},
  {"ContainerHierarchyTexts": null, "LeafNodeType": "ReportAfterSuite", "LeafNodeText": "JUnit", "State": "failed", "Failure": {"Message": "disk full"}}
]}]`

func TestParseReport(t *testing.T) {
	got, err := parseReport([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	want := []result{
		{spec: "SynchronizedBeforeSuite", around: true, state: "passed", time: 5},
		{spec: "[sig-network] LoadBalancers [Slow] should work", state: "passed", time: 2 * time.Second},
		{spec: "[sig-network] DNS should answer", state: "failed", message: "no answer", time: 1500 * time.Millisecond},
		{spec: "ReportAfterSuite JUnit", around: true, state: "failed", message: "disk full"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if _, err := parseReport([]byte("[{")); err == nil {
		t.Error("half a report: no error")
	}
}

func TestJudge(t *testing.T) {
	passed := func(spec string) result { return result{spec: spec, state: "passed", time: 700 * time.Millisecond} }
	for _, tt := range []struct {
		name    string
		results []result
		sum     summary
		wrong   []string
	}{
		{
			name:    "all well",
			results: []result{{spec: "BeforeSuite", around: true, state: "passed"}, passed("a"), passed("b"), {spec: "c", state: "skipped"}},
			sum:     summary{Specs: 2, Passed: 2, Seconds: 1},
		},
		{
			name: "failed", results: []result{passed("a"), {spec: "b", state: "failed", message: "no route"}},
			sum: summary{Specs: 2, Passed: 1, Failed: 1}, wrong: []string{"b: failed: no route"},
		},
		{
			name: "skipped itself", results: []result{passed("a"), {spec: "b", state: "skipped", message: "one node"}},
			sum: summary{Specs: 2, Passed: 1, Failed: 1}, wrong: []string{"b: skipped: one node"},
		},
		{
			name: "did not run", results: []result{passed("a")},
			sum: summary{Specs: 2, Passed: 1, Failed: 1}, wrong: []string{"b: did not run"},
		},
		{
			name: "one too many", results: []result{passed("a"), passed("b"), passed("c")},
			sum: summary{Specs: 2, Passed: 2, Seconds: 2}, wrong: []string{"c: ran, though it was not to"},
		},
		{
			name:    "around",
			results: []result{{spec: "BeforeSuite", around: true, state: "failed", message: "no nodes"}, passed("a"), passed("b")},
			sum:     summary{Specs: 2, Passed: 2, Seconds: 1}, wrong: []string{"BeforeSuite: failed: no nodes"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sum, wrong := judge([]string{"a", "b"}, tt.results)
			if diff := cmp.Diff(tt.sum, sum); diff != "" {
				t.Errorf("summary (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.wrong, wrong); diff != "" {
				t.Errorf("wrong (-want +got):\n%s", diff)
			}
		})
	}
}
