package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/test/lab/labtest"
)

// tree makes files, with their directories, below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestHierarchies(t *testing.T) {
	for _, tt := range []struct {
		what  string
		files map[string]string
		want  []string // nil: an error
	}{
		{"v2", map[string]string{"cgroup.procs": "", "machine/cgroup.procs": ""}, []string{"."}},
		{
			"v1",
			map[string]string{"cpu/cgroup.procs": "", "freezer/cgroup.procs": "", "other/file": ""},
			[]string{"cpu", "freezer"},
		},
		{"none", map[string]string{"other/file": ""}, nil},
	} {
		t.Run(tt.what, func(t *testing.T) {
			root := tree(t, tt.files)
			dirs, err := hierarchies(root)
			if (err == nil) != (tt.want != nil) {
				t.Fatalf("hierarchies: error %v", err)
			}
			var want []string
			for _, dir := range tt.want {
				want = append(want, filepath.Join(root, dir))
			}
			if diff := cmp.Diff(want, dirs); diff != "" {
				t.Errorf("hierarchies (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFindFreezer(t *testing.T) {
	v1 := tree(t, map[string]string{"freezer/cgroup.procs": ""})
	if got, want := findFreezer(v1, "a").file, filepath.Join(v1, "freezer/a/freezer.state"); got != want {
		t.Errorf("freezer of v1: %s, want %s", got, want)
	}
	v2 := tree(t, map[string]string{"cgroup.procs": ""})
	if got, want := findFreezer(v2, "a").file, filepath.Join(v2, "a/cgroup.freeze"); got != want {
		t.Errorf("freezer of v2: %s, want %s", got, want)
	}
}

// TestFreezerAsksAgain has a kernel that does not obey at once.
func TestFreezerAsksAgain(t *testing.T) {
	root := tree(t, map[string]string{"wish": "", "answer": "populated 1\nfrozen 0\n"})
	f := freezer{file: filepath.Join(root, "wish"), answer: filepath.Join(root, "answer")}
	done := make(chan error, 1)
	go func() { done <- f.set(t.Context(), "1", "frozen 1") }()
	labtest.WaitFor(t, "wish", func() bool {
		wish, err := os.ReadFile(f.file)
		return err == nil && string(wish) == "1"
	})
	select {
	case err := <-done:
		t.Fatalf("set has ended before the kernel obeyed: %v", err)
	default:
	}
	if err := os.WriteFile(f.answer, []byte("populated 1\nfrozen 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestCpuset checks that a new v1 cpuset gets its parent's CPUs and memory nodes.
func TestCpuset(t *testing.T) {
	root := tree(t, map[string]string{"cpuset.cpus": "0-1\n", "cpuset.mems": "0\n"})
	dir := filepath.Join(root, "new")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.clone_children"), nil, 0o644); err != nil { // as v1 makes it
		t.Fatal(err)
	}
	if err := mkdir(dir); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"cpuset.cpus": "0-1\n", "cpuset.mems": "0\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", file, got, err, want)
		}
	}
}

// TestLife takes a real cgroup through its life, with a process that always works and one that always forks.
func TestLife(t *testing.T) {
	labtest.RequireRoot(t)
	name := "labtest-" + strconv.Itoa(os.Getpid())
	dirs, err := Make(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Destroy(t.Context(), name) })
	if _, err := Make(name); err != nil {
		t.Errorf("Make of what is there: %v", err)
	}
	out := filepath.Join(t.TempDir(), "out")
	worker := startIn(t, dirs, "while :; do echo >>"+out+"; done")
	startIn(t, dirs, "while :; do (exit 0); done")
	testFreeze(t, name, out)
	if pids, err := Processes(name); err != nil || !slices.Contains(pids, worker) {
		t.Errorf("Processes: %v, %v, want %d among them", pids, err, worker)
	}
	if names, err := List(func(s string) bool { return s == name }); err != nil || len(names) != 1 {
		t.Errorf("List: %v, %v, want %s", names, err, name)
	}
	if err := Freeze(t.Context(), name); err != nil { // it must be possible to destroy what is frozen
		t.Fatal(err)
	}
	killed, err := Destroy(t.Context(), name)
	if err != nil || !slices.Contains(killed, worker) {
		t.Errorf("Destroy: killed %v, %v, want %d among them", killed, err, worker)
	}
	if names, err := List(func(s string) bool { return s == name }); err != nil || len(names) != 0 {
		t.Errorf("List after Destroy: %v, %v", names, err)
	}
	if killed, err := Destroy(t.Context(), name); err != nil || len(killed) > 0 {
		t.Errorf("Destroy of what is gone: %v, %v", killed, err)
	}
}

// testFreeze freezes and thaws a cgroup with a process that lets a file grow.
func testFreeze(t *testing.T, name, out string) {
	t.Helper()
	grows := func() bool {
		info, err := os.Stat(out)
		return err == nil && info.Size() > 0
	}
	labtest.WaitFor(t, "work", grows)
	if err := Freeze(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if frozen, err := Frozen(name); err != nil || !frozen {
		t.Errorf("Frozen: %t, %v, want true", frozen, err)
	}
	if err := os.Truncate(out, 0); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		time.Sleep(time.Millisecond) // an age for the worker
		if grows() {
			t.Fatal("a frozen process works")
		}
	}
	if err := Thaw(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if frozen, err := Frozen(name); err != nil || frozen {
		t.Errorf("Frozen after Thaw: %t, %v, want false", frozen, err)
	}
	labtest.WaitFor(t, "work after thawing", grows)
}

// startIn starts a shell in a cgroup. Its children are below it, so killing it alone would not do.
func startIn(t *testing.T, dirs []string, script string) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", "read go && "+script)
	start, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
		cmd.Wait()
	})
	pid := strconv.Itoa(cmd.Process.Pid)
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(pid), 0); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	if _, err := start.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}
