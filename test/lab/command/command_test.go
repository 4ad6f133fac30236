package command_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/invar-lb/invar/test/lab/command"
	"github.com/invar-lb/invar/test/lab/labtest"
	"github.com/invar-lb/invar/test/lab/proc"
)

// pidFileEnv makes TestMain run a program that writes its process id to that file and sleeps.
const pidFileEnv = "LAB_TEST_PID_FILE"

func TestMain(m *testing.M) {
	file := os.Getenv(pidFileEnv)
	if file == "" {
		os.Exit(m.Run())
	}
	fmt.Println(command.Run(context.Background(), "", "sh", "-c", "echo $$ >"+file+".new && mv "+file+".new "+file+" && exec sleep 60"))
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		what, script, stdin string
		err                 string
	}{
		{what: "success", script: "exit 0"},
		{what: "standard input", script: `read line && test "$line" = hello`, stdin: "hello\n"},
		{what: "failure quotes all output", script: "echo this; echo that >&2; exit 3", err: "exit status 3: this\nthat"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			err := command.Run(t.Context(), tt.stdin, "sh", "-c", tt.script)
			if (err == nil) != (tt.err == "") || err != nil && !strings.HasSuffix(err.Error(), tt.err) {
				t.Errorf("Run: %v, want %q", err, tt.err)
			}
		})
	}
	if err := command.Run(t.Context(), "", "no-such-program"); err == nil {
		t.Error("Run of a program that is not there: no error")
	}
}

func TestOutput(t *testing.T) {
	out, err := command.Output(t.Context(), "sh", "-c", "echo this; echo that >&2")
	if string(out) != "this\n" || err != nil {
		t.Errorf("Output: %q, %v, want standard output only", out, err)
	}
	_, err = command.Output(t.Context(), "sh", "-c", "echo this; echo that >&2; exit 1")
	if err == nil || !strings.HasSuffix(err.Error(), "exit status 1: that") {
		t.Errorf("Output of a failure: %v, want standard error quoted", err)
	}
}

// TestDiesWithCaller kills a caller of Run with SIGKILL: the program must end too.
func TestDiesWithCaller(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	caller := exec.Command(os.Args[0])
	caller.Env = append(os.Environ(), pidFileEnv+"="+file)
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	var id proc.Identity
	labtest.WaitFor(t, "start", func() bool {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		id, err = proc.Identify(pid)
		return err == nil
	})
	t.Cleanup(func() { id.Kill() })
	caller.Process.Kill()
	caller.Wait()
	labtest.WaitFor(t, "end of the program", func() bool { return !id.Alive() })
}
