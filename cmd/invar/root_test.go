package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func TestCalledAs(t *testing.T) {
	tests := []struct {
		args []string
		name string
		rest []string
	}{
		{[]string{"/usr/local/bin/invar", "status"}, "invar", []string{"status"}},
		{[]string{"kubectl-invar", "why", "web"}, "kubectl invar", []string{"why", "web"}},
		{[]string{"/opt/kubectl_complete-invar", "why", ""}, "kubectl invar", []string{cobra.ShellCompRequestCmd, "why", ""}},
		{[]string{"renamed"}, "invar", []string{}},
	}
	for _, tt := range tests {
		name, rest := calledAs(tt.args)
		if name != tt.name {
			t.Errorf("calledAs(%q) = %q, want %q", tt.args, name, tt.name)
		}
		if diff := cmp.Diff(tt.rest, rest); diff != "" {
			t.Errorf("arguments of %q (-want +got):\n%s", tt.args, diff)
		}
	}
}

// TestRun runs command lines that need no cluster.
func TestRun(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nonexistent")
	tests := []struct {
		line     string
		code     int
		out, err string // what they contain
	}{
		{"invar", exitOK, "Exit codes:", ""},
		{"invar version --client", exitOK, "invar devel\n", ""},
		{"invar version --client -o json", exitOK, `"client": "devel"`, ""},
		{"invar version --client -o yaml", exitOK, "client: devel\n", ""},
		{"kubectl-invar version --help", exitOK, "kubectl invar version [flags]", ""},
		{"invar nonsense", exitUsage, "", `unknown command "nonsense" for "invar"`},
		{"kubectl-invar nonsense", exitUsage, "", "See 'kubectl invar --help'."},
		{"invar version surplus", exitUsage, "", `unknown command "surplus"`},
		{"invar version --nonsense", exitUsage, "", "unknown flag: --nonsense"},
		{"invar version -o xml", exitUsage, "", "want json, yaml or wide"},
		{"invar move 10.0.0.1 --to node1 -o json", exitUsage, "", "--output is of no use here"},
		{"invar drain node1 -o yaml", exitUsage, "", "See 'invar drain --help'."},
		{"invar undrain node1 -o wide", exitUsage, "", "--output is of no use here"},
		{"invar ui -o json", exitUsage, "", "--output is of no use here"},
		{"kubectl_complete-invar vers", exitOK, "version\t", ""},
		{"invar completion bash", exitOK, "__start_invar", ""},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			streams, _, out, errOut := genericiooptions.NewTestIOStreams()
			if code := run(t.Context(), streams, strings.Fields(tt.line)); code != tt.code {
				t.Errorf("exit code %d, want %d; stderr:\n%s", code, tt.code, errOut)
			}
			if !strings.Contains(out.String(), tt.out) {
				t.Errorf("stdout has no %q:\n%s", tt.out, out)
			}
			if !strings.Contains(errOut.String(), tt.err) {
				t.Errorf("stderr has no %q:\n%s", tt.err, errOut)
			}
		})
	}
}

func TestStyleOfFile(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if styleOf(f, os.Getenv).colours {
		t.Error("colours into a file")
	}
}

func TestTable(t *testing.T) {
	p := &page{style: style{colours: true}}
	p.table([][]string{{"NODE", "STATE"}, {p.bad("node-of-long-name"), "down"}, {"n", ""}})
	want := "\x1b[2mNODE\x1b[0m               \x1b[2mSTATE\x1b[0m\n" +
		"\x1b[31mnode-of-long-name\x1b[0m  down\n" +
		"n\n"
	if diff := cmp.Diff(want, p.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
