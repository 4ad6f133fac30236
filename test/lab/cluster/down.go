package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/lab/cgroup"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
	"github.com/invar-lb/invar/test/lab/wire"
)

const (
	grave  = 30 * time.Second // bounds the wait for killed processes to be gone
	burial = 3 * time.Second  // bounds the wait for init to notice
)

// Down removes everything that a lab of that name has made: processes, cgroups, namespaces, mounts, directories. It
// needs no state file, and it is no error if there is nothing to remove.
func Down(ctx context.Context, name string, p *Progress) error {
	if err := plan.CheckName(name); err != nil {
		return err
	}
	lab := plan.Lab{Name: name}
	unlock, err := lock(lab.LockFile(), p)
	if err != nil {
		return err
	}
	defer unlock()
	p.Say("taking lab %s down", name)
	if err := remove(ctx, lab); err != nil {
		return err
	}
	if err := os.Remove(lab.LockFile()); err != nil {
		return fmt.Errorf("remove lock: %w", err)
	}
	if err := removeBases(); err != nil {
		return err
	}
	p.Say("lab %s is gone", name)
	return nil
}

// removeBases removes the directories that labs share, unless there is another lab in them or a disk mounted on them.
func removeBases() error {
	for _, dir := range []string{plan.RunBase, plan.DataBase} {
		err := os.Remove(dir)
		inUse := errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY)
		if err != nil && !inUse && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove directory: %w", err)
		}
	}
	return nil
}

// remove does the work of Down for a caller that holds the lock, which it leaves.
func remove(ctx context.Context, lab plan.Lab) error {
	ctx, cancel := context.WithTimeout(ctx, grave)
	defer cancel()
	if err := killTracked(lab); err != nil {
		return err
	}
	if err := removeCgroups(ctx, lab); err != nil {
		return err
	}
	if err := wire.Remove(lab); err != nil {
		return err
	}
	if err := unmountAll(lab); err != nil {
		return err
	}
	for _, dir := range []string{lab.DataDir(), lab.RunDir()} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove directory: %w", err)
		}
	}
	return nil
}

// killTracked kills the processes that the state file knows. A state file that cannot be read is no obstacle: the
// cgroups know the processes too.
func killTracked(lab plan.Lab) error {
	st, err := load(lab.Name)
	if err != nil {
		return nil
	}
	boot, err := proc.BootID()
	if err != nil || boot != st.BootID {
		return err
	}
	for _, p := range st.Processes {
		if err := p.Kill(); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups ends all processes of the lab's hosts, shims and pods too, and removes the cgroups. The processes are
// init's children by now; it is given a moment to wait for them, so that none is seen as a zombie afterwards.
func removeCgroups(ctx context.Context, lab plan.Lab) error {
	names, err := cgroup.List(lab.OwnsCgroup)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, name := range names {
		g.Go(func() error {
			killed, err := cgroup.Destroy(ctx, name)
			bury(killed)
			return err
		})
	}
	return g.Wait()
}

// bury waits until init has noticed the end of processes. If it does not, that is no failure of the lab.
func bury(pids []int) {
	for until := time.Now().Add(burial); slices.ContainsFunc(pids, proc.Zombie) && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
}

// unmountAll unmounts what is mounted in the lab's directories, deepest first. Nodes mount in namespaces of their own,
// so there should be nothing; but removing directories through a mount would be worse than looking.
func unmountAll(lab plan.Lab) error {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, point := range mountPoints(string(data), lab.RunDir(), lab.DataDir()) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}

// mountPoints reads /proc/PID/mounts, proc_pid_mounts(5), and returns what is mounted at or below one of dirs, deepest
// first.
func mountPoints(mounts string, dirs ...string) []string {
	var points []string
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if slices.ContainsFunc(dirs, func(dir string) bool { return within(fields[1], dir) }) {
			points = append(points, fields[1])
		}
	}
	slices.SortStableFunc(points, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return points
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
