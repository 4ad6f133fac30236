package proc_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/invar-lb/invar/test/lab/labtest"
	"github.com/invar-lb/invar/test/lab/proc"
)

// startSleep starts a process that is ours to wait for. Its name tries to confuse a reader of /proc/PID/stat.
func startSleep(t *testing.T) *exec.Cmd {
	t.Helper()
	link := filepath.Join(t.TempDir(), "a) Z 1 (b")
	if err := os.Symlink("/bin/sleep", link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(link, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd
}

func TestIdentity(t *testing.T) {
	cmd := startSleep(t)
	id, err := proc.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Error("running process: not alive")
	}
	if other := (proc.Identity{PID: id.PID, Start: id.Start + 1}); other.Alive() {
		t.Error("process with another start time: alive")
	}
	if (proc.Identity{}).Alive() {
		t.Error("process that was never started: alive")
	}
}

// TestAliveWhileExec looks at a process of several threads while it becomes another program: the thread that started
// it is a zombie for a moment then, the process is not.
func TestAliveWhileExec(t *testing.T) {
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), execEnv+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		id, err := proc.Identify(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		alive := true
		labtest.WaitFor(t, "exec", func() bool {
			alive = id.Alive()
			line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(id.PID), "cmdline"))
			return !alive || err == nil && strings.HasPrefix(string(line), "sleep")
		})
		cmd.Process.Kill()
		cmd.Wait()
		if !alive {
			t.Fatal("running process: not alive")
		}
	}
}

// execEnv makes TestMain become sleep(1), by way of a thread that is not the first.
const execEnv = "LAB_TEST_EXEC"

func TestMain(m *testing.M) {
	if os.Getenv(execEnv) == "" {
		os.Exit(m.Run())
	}
	for range 50 { // one of these is on another thread, and the first to exec ends the others
		go func() {
			runtime.LockOSThread()
			syscall.Exec("/bin/sleep", []string{"sleep", "60"}, nil)
		}()
	}
	select {}
}

func TestKillSparesOthers(t *testing.T) {
	cmd := startSleep(t)
	id, err := proc.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := (proc.Identity{PID: id.PID, Start: id.Start - 1}).Kill(); err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Fatal("killed a process that only has the same id")
	}
	if err := id.Kill(); err != nil {
		t.Fatal(err)
	}
	// Not waited for yet: a zombie, which is not alive.
	labtest.WaitFor(t, "death", func() bool { return !id.Alive() })
	if err := cmd.Wait(); err == nil {
		t.Error("process ended by itself")
	}
	if err := id.Kill(); err != nil {
		t.Errorf("kill of a dead process: %v", err)
	}
}

func TestStart(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	id, err := proc.Start(proc.Spec{Argv: []string{"/bin/sh", "-c", "echo $0 \"$LAB_CGROUPS\"; exec sleep 60", "x y"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		id.Kill()
		var status syscall.WaitStatus
		syscall.Wait4(id.PID, &status, 0, nil)
	})
	labtest.WaitFor(t, "output", func() bool {
		data, err := os.ReadFile(log)
		return err == nil && strings.HasSuffix(string(data), "\n")
	})
	data, err := os.ReadFile(log)
	if err != nil || string(data) != "x y \n" {
		t.Errorf("output %q, %v, want %q", data, err, "x y \n")
	}
	if session, err := sessionOf(id.PID); err != nil || session != id.PID {
		t.Errorf("session %d, %v, want one of its own, %d", session, err, id.PID)
	}
}

// TestInherit hands a pipe down: nothing else of it may stay open, or its reader would not see the end.
func TestInherit(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	id, err := proc.Start(proc.Spec{
		Argv:    []string{"/bin/sh", "-c", fmt.Sprintf("echo hello >&%d", proc.InheritedFD)},
		Log:     filepath.Join(t.TempDir(), "log"),
		Inherit: w,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	text, err := io.ReadAll(r)
	if err != nil || string(text) != "hello\n" {
		t.Errorf("read %q, %v, want hello", text, err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(id.PID, &status, 0, nil); err != nil || status.ExitStatus() != 0 {
		t.Errorf("wait: %v, exit status %d", err, status.ExitStatus())
	}
}

// TestNamespaces joins the namespaces of a process that has its own.
func TestNamespaces(t *testing.T) {
	labtest.RequireRoot(t)
	start := func(s proc.Spec) proc.Identity {
		s.Argv, s.Log = []string{"/bin/sleep", "60"}, filepath.Join(t.TempDir(), "log")
		id, err := proc.Start(s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			id.Kill()
			syscall.Wait4(id.PID, nil, 0, nil)
		})
		labtest.WaitFor(t, "sleep", func() bool {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
			return err == nil && strings.HasPrefix(string(line), "/bin/sleep\x0060")
		})
		return id
	}
	holder := start(proc.Spec{Unshare: true})
	guest := start(proc.Spec{Netns: "/proc/self/ns/net", Join: holder.PID})
	for kind, own := range map[string]bool{"mnt": true, "uts": true, "net": false} {
		mine, holders, guests := namespace(t, os.Getpid(), kind), namespace(t, holder.PID, kind), namespace(t, guest.PID, kind)
		if (holders != mine) != own || guests != holders {
			t.Errorf("namespace %s: test's %s, holder's %s, guest's %s", kind, mine, holders, guests)
		}
	}
}

func namespace(t *testing.T, pid int, kind string) string {
	t.Helper()
	link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func sessionOf(pid int) (int, error) {
	session, _, errno := syscall.Syscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(session), nil
}
