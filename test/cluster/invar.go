package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Answer is what a run of invar has printed, and its exit code.
type Answer struct {
	Out, Err string
	Code     int
}

// Invar runs bin/invar as a user of the cluster would. An exit code is no error.
func (c *Cluster) Invar(ctx context.Context, args ...string) (Answer, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.Root, "bin", "invar"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Answer{}, fmt.Errorf("run invar: %w", err)
	}
	return Answer{Out: out.String(), Err: stderr.String(), Code: cmd.ProcessState.ExitCode()}, nil
}
