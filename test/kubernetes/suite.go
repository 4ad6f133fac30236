package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// suite is Kubernetes' own, as hack/test-kubernetes.sh builds it.
type suite struct {
	folder string // of e2e.test, ginkgo, agnhost.tar and coredns.tar
}

// list returns the names of all specs of the suite.
func (s suite) list(ctx context.Context) ([]string, error) {
	out, err := s.e2e(ctx, "--list-tests")
	if err != nil {
		return nil, err
	}
	return parseList(out), nil
}

// parseList reads the specs' names off lines such as "    ../e2e/network/dns.go:44: [sig-network] DNS should ...".
func parseList(out string) []string {
	var specs []string
	line := regexp.MustCompile(`^ +\S+\.go:\d+: (.+)$`)
	for l := range strings.Lines(out) {
		if m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n")); m != nil {
			specs = append(specs, m[1])
		}
	}
	return specs
}

// version returns the version of Kubernetes that the suite is of, such as v1.37.2.
func (s suite) version(ctx context.Context) (string, error) {
	out, err := s.e2e(ctx, "--version")
	return strings.TrimSpace(out), err
}

func (s suite) e2e(ctx context.Context, arg string) (string, error) {
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(s.folder, "e2e.test"), arg)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("e2e.test %s: %w: %s", arg, err, strings.TrimSpace(stderr.String()))
	}
	return out.String(), nil
}

// runOn runs specs on the lab of that name, from its client: the suite's own connections are to come from outside of the cluster.
// Failed specs are no error, if there is a report about them. Ginkgo's output goes to stderr.
func (s suite) runOn(ctx context.Context, name string, specs []string, procs int) ([]result, error) {
	lab, err := cluster.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := s.install(ctx, lab); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "invar-kubernetes-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args, err := s.arguments(lab, dir, specs, procs)
	if err != nil {
		return nil, err
	}
	ran := fromClient(ctx, lab, args)
	report, err := os.ReadFile(filepath.Join(dir, reportFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(errors.New("ginkgo has left no report"), ran)
	}
	if err != nil {
		return nil, err
	}
	results, err := parseReport(report)
	return results, errors.Join(err, ctx.Err())
}

const reportFile = "report.json"

// stopWait is how long the suite may take to end, once it is told to.
const stopWait = time.Minute

// fromClient runs a command in the client's network, with its output on stderr. The command is told to stop together with its
// children, which ginkgo would leave behind.
func fromClient(ctx context.Context, lab *cluster.Cluster, command []string) error {
	cmd := exec.CommandContext(ctx, lab.Program, append([]string{"exec", "--name", lab.Name, cluster.Client, "--"}, command...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopWait
	return cmd.Run()
}

// arguments is the command line for specs, all in one run. What the suite needs and cannot be told on it is put into dir.
func (s suite) arguments(lab *cluster.Cluster, dir string, specs []string, procs int) ([]string, error) {
	folder, err := filepath.Abs(s.folder)
	if err != nil {
		return nil, err
	}
	api, err := lab.Host("control-plane")
	if err != nil {
		return nil, err
	}
	kubectl := filepath.Join(dir, "kubectl")
	script := fmt.Sprintf("#!/bin/sh\nexec %q kubectl --name %q \"$@\"\n", lab.Program, lab.Name)
	if err := os.WriteFile(kubectl, []byte(script), 0o755); err != nil {
		return nil, err
	}
	args := []string{
		filepath.Join(folder, "ginkgo"), "--no-color", "--silence-skips", "--timeout=2h", "--procs=" + strconv.Itoa(procs),
		"--output-dir=" + dir, "--json-report=" + reportFile,
	}
	for _, spec := range specs {
		args = append(args, "--focus="+regexp.QuoteMeta(spec)+"$")
	}
	return append(args, filepath.Join(folder, "e2e.test"), "--",
		"--provider=skeleton", "--num-nodes="+strconv.Itoa(len(lab.Nodes())), "--kubeconfig="+lab.Kubeconfig, "--kubectl-path="+kubectl,
		fmt.Sprintf("--host=https://%s:6443", api.IPv4), // the administrator's own way leads through the machine's loopback interface
		"--e2e-output-dir="+dir,
	), nil
}
