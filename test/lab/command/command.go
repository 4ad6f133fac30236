package command

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// Run runs a program with the given standard input. The error quotes what the program has written.
func Run(ctx context.Context, stdin, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return Wait(cmd)
}

// Output runs a program and returns its standard output. The error quotes its standard error.
func Output(ctx context.Context, name string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout = &out
	err := Wait(cmd)
	return out.Bytes(), err
}

// Wait runs a prepared program to its end. Output that has nowhere to go is quoted in the error.
func Wait(cmd *exec.Cmd) error {
	var text bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &text
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &text
	}
	// The kernel kills the child when the thread that started it ends, prctl(2) PR_SET_PDEATHSIG: so the thread must
	// stay for as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(text.String()))
	}
	return nil
}
