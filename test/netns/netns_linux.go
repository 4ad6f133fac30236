package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	// insideEnv is set in the environment of the test binary that Main started.
	insideEnv = "INVAR_TEST_NETNS"
	// rootEnv makes skipping a failure.
	rootEnv = "INVAR_TEST_ROOT"
	// kernelEnv makes it a failure, too, that the kernel lacks something.
	kernelEnv = "INVAR_TEST_KERNEL"
)

// Main runs the tests of m, inside a new network namespace if the process is root, and exits.
func Main(m *testing.M) {
	if os.Getenv(insideEnv) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	os.Exit(inside())
}

// inside runs this test binary again in a new network namespace and returns its exit code.
func inside() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	// Should this process be killed, by the go command after a timeout say, its child must not stay behind. The signal
	// comes when the thread ends that started the child, so that thread has to stay.
	runtime.LockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(1, exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "netns: run tests in a network namespace:", err)
	return 1
}

// Require skips the test if it doesn't run in a namespace made by [Main], or fails it if INVAR_TEST_ROOT=1.
func Require(tb testing.TB) {
	tb.Helper()
	if os.Getenv(insideEnv) == "" {
		Missing(tb, "this test needs root, and TestMain to call netns.Main")
	}
}

// Missing skips the test because the machine lacks something, or fails it if INVAR_TEST_ROOT=1.
func Missing(tb testing.TB, reason string) {
	tb.Helper()
	if os.Getenv(rootEnv) == "1" {
		tb.Fatalf("%s=1, but: %s", rootEnv, reason)
	}
	tb.Skip(reason)
}

// KernelLacks skips the test because the kernel has no such things, which unlike root and tools can't be helped on many
// machines, or fails it if INVAR_TEST_KERNEL=1.
func KernelLacks(tb testing.TB, things string) {
	tb.Helper()
	if os.Getenv(kernelEnv) == "1" {
		tb.Fatalf("%s=1, but: the kernel has no %s", kernelEnv, things)
	}
	tb.Skipf("the kernel has no %s", things)
}

// Tool returns the path of a command that the test needs, and calls [Missing] if it isn't installed.
func Tool(tb testing.TB, name string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(tb, name+" is not installed")
	}
	return path
}
