package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/test/lab/plan"
)

// noLab is the name of a lab that nobody has made.
const noLab = "nosuchlab"

func noKubectl(plan.Lab, []string) int { panic("kubectl without a lab") }

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		line             string
		name             string
		positional, rest []string
		err              error
	}{
		{line: "", name: "lab"},
		{line: "--name a node1", name: "a", positional: []string{"node1"}},
		{line: "node1 --name=a", name: "a", positional: []string{"node1"}},
		{line: "x -name a y", name: "a", positional: []string{"x", "y"}},
		{line: "node1 -- sh -c --name", name: "lab", positional: []string{"node1"}, rest: []string{"sh", "-c", "--name"}},
		{line: "node1 -- a -- b", name: "lab", positional: []string{"node1"}, rest: []string{"a", "--", "b"}},
		{line: "--bogus", err: errUsage},
		{line: "-h", err: flag.ErrHelp},
	} {
		t.Run(tt.line, func(t *testing.T) {
			t.Setenv("LAB_NAME", "")
			fs, name := newFlags("test")
			quiet(fs)
			positional, rest, err := parse(fs, strings.Fields(tt.line))
			if !errors.Is(err, tt.err) {
				t.Fatalf("parse: %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			got := fmt.Sprintf("%s %q %q", *name, positional, rest)
			if diff := cmp.Diff(fmt.Sprintf("%s %q %q", tt.name, tt.positional, tt.rest), got); diff != "" {
				t.Errorf("name, positional, rest (-want +got):\n%s", diff)
			}
		})
	}
}

func quiet(fs *flag.FlagSet) { fs.SetOutput(new(strings.Builder)) }

func TestNameFromEnvironment(t *testing.T) {
	t.Setenv("LAB_NAME", "other")
	if _, name := newFlags("test"); *name != "other" {
		t.Errorf("name %q, want other", *name)
	}
}

func TestSplitName(t *testing.T) {
	for _, tt := range []struct{ line, own, rest string }{
		{"get pods", "", "get pods"},
		{"--name a get pods", "--name a", "get pods"},
		{"-name=a get pods", "-name=a", "get pods"},
		{"get --name a", "", "get --name a"},
		{"--namespace a get", "", "--namespace a get"},
		{"", "", ""},
	} {
		own, rest := splitName(strings.Fields(tt.line))
		if got := [2]string{strings.Join(own, " "), strings.Join(rest, " ")}; got != [2]string{tt.own, tt.rest} {
			t.Errorf("splitName(%q) = %q, want %q and %q", tt.line, got, tt.own, tt.rest)
		}
	}
}

// TestRun checks exit codes: 2 for a wrong command line, 1 for everything else that fails.
func TestRun(t *testing.T) {
	for _, tt := range []struct {
		line string
		want int
	}{
		{"", 2},
		{"bogus", 2},
		{"down extra", 2},
		{"up --nodes many", 2},
		{"load", 2},
		{"cut", 2},
		{"kill", 2},
		{"partition", 2},
		{"unite node1", 2},
		{"internal-node a", 2},
		{"up --nodes 0", 1},
		{"up --name a-b", 1},
		{"up --pod-network calico", 1},
		{"status --name " + noLab, 1},
		{"kill --name " + noLab + " node1 kubelet", 1},
		{"partition --name " + noLab + " node1", 1},
		{"unite --name " + noLab, 1},
		{"exec --name " + noLab + " node1 -- true", 1},
		{"kubectl --name " + noLab + " get pods", 1},
		{"help", 0},
		{"up -h", 0},
	} {
		silently(t, func() {
			if got := Run(strings.Fields(tt.line), noKubectl); got != tt.want {
				t.Errorf("lab %s: exit code %d, want %d", tt.line, got, tt.want)
			}
		})
	}
}

// TestUsage checks that the commands of the usage text exist.
func TestUsage(t *testing.T) {
	var commands []string
	for line := range strings.Lines(usage) {
		if rest, ok := strings.CutPrefix(line, "  lab "); ok {
			commands = append(commands, strings.Fields(rest)[0])
		}
	}
	if !slices.Contains(commands, "up") {
		t.Fatalf("commands in the usage text: %v", commands)
	}
	for _, command := range commands {
		want := 0
		if command == "kubectl" {
			want = 1 // leaves -h to kubectl, but there is no lab
		}
		silently(t, func() {
			t.Setenv("LAB_NAME", noLab)
			if got := Run([]string{command, "-h"}, noKubectl); got != want {
				t.Errorf("lab %s -h: exit code %d, want %d", command, got, want)
			}
		})
	}
}

// silently keeps what commands print out of the test's output.
func silently(t *testing.T, f func()) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	out, errout := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = null, null
	defer func() { os.Stdout, os.Stderr = out, errout }()
	f()
}
