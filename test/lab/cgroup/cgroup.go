package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mountPoint is where the cgroup hierarchies are mounted.
const mountPoint = "/sys/fs/cgroup"

// leaf is the child that holds a host's own daemons. In v2 a cgroup with children may hold no process itself.
const leaf = "system"

// hierarchies lists the mount points of the cgroup hierarchies below root: one for v2, one per controller for v1.
func hierarchies(root string) ([]string, error) {
	if isHierarchy(root) {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	var dirs []string
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if e.IsDir() && isHierarchy(dir) {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("list cgroup hierarchies: none below %s", root)
	}
	return dirs, nil
}

func isHierarchy(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.procs"))
	return err == nil
}

// Make makes the cgroup in every hierarchy and returns the directories that the host's daemons must enter.
func Make(name string) ([]string, error) {
	roots, err := hierarchies(mountPoint)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, root := range roots {
		dir, err := makeIn(root, name)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

// makeIn makes the cgroup in one hierarchy.
func makeIn(root, name string) (string, error) {
	host := filepath.Join(root, name)
	if err := delegate(root); err != nil {
		return "", err
	}
	if err := mkdir(host); err != nil {
		return "", err
	}
	if err := delegate(host); err != nil {
		return "", err
	}
	dir := filepath.Join(host, leaf)
	return dir, mkdir(dir)
}

// mkdir makes one cgroup. A v1 cpuset without CPUs and memory nodes takes no process, so it gets its parent's.
func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make cgroup: %w", err)
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.clone_children")); err != nil {
			return nil // v2
		}
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), value, 0)
		}
		if err != nil {
			return fmt.Errorf("set up cpuset: %w", err)
		}
	}
	return nil
}

// delegate lets the children of a cgroup use all controllers that it has itself. Only where v2 is alone: beside v1 it has
// no controllers that matter.
func delegate(dir string) error {
	if !isHierarchy(mountPoint) {
		return nil
	}
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read controllers: %w", err)
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("enable controller %s: %w", c, err)
		}
	}
	return nil
}

// List returns the names of the top-level cgroups, in any hierarchy, that match.
func List(match func(name string) bool) ([]string, error) {
	roots, err := hierarchies(mountPoint)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, root := range roots {
		entries, err := os.ReadDir(root)
		if err != nil {
			return nil, fmt.Errorf("list cgroups: %w", err)
		}
		for _, e := range entries {
			if e.IsDir() && match(e.Name()) && !slices.Contains(names, e.Name()) {
				names = append(names, e.Name())
			}
		}
	}
	return names, nil
}

// walk calls f for the cgroup and all its descendants in every hierarchy, children before parents.
func walk(name string, f func(dir string) error) error {
	roots, err := hierarchies(mountPoint)
	if err != nil {
		return err
	}
	for _, root := range roots {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(root, name), func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("walk cgroup: %w", err)
		}
		for _, dir := range slices.Backward(dirs) {
			if err := f(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV) {
				return err
			}
		}
	}
	return nil
}

// Processes lists the processes at or below the cgroup, in any hierarchy.
func Processes(name string) ([]int, error) {
	var pids []int
	err := walk(name, func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, field := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("parse process id: %w", err)
			}
			if pid > 0 { // 0 stands for a process of another pid namespace
				pids = append(pids, pid)
			}
		}
		return nil
	})
	slices.Sort(pids)
	return slices.Compact(pids), err
}

// Destroy ends every process at or below the cgroup, removes the cgroup, and returns which processes it has killed. It
// repeats both until nothing is left: processes fork while they are being killed, one that was just started may enter
// late, and the kernel may need a moment to take leave of the last.
func Destroy(ctx context.Context, name string) (killed []int, err error) {
	if err := Thaw(ctx, name); err != nil {
		return nil, err
	}
	for {
		pids, err := kill(name)
		if err != nil {
			return nil, err
		}
		killed = append(killed, pids...)
		err = walk(name, func(dir string) error { return syscall.Rmdir(dir) })
		if err == nil || !errors.Is(err, syscall.EBUSY) {
			return killed, err
		}
		if pause(ctx) != nil {
			return nil, fmt.Errorf("remove cgroup %s with processes %v: %w", name, pids, err)
		}
	}
}

// kill sends SIGKILL to every process at or below the cgroup and returns which.
func kill(name string) ([]int, error) {
	pids, err := Processes(name)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return nil, fmt.Errorf("kill process %d of cgroup %s: %w", pid, name, err)
		}
	}
	return pids, nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}
