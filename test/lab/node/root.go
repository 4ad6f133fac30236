package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/component-helpers/node/util/sysctl"

	"github.com/invar-lb/invar/test/lab/plan"
)

// readyFile says that a node's mount namespace is complete.
func readyFile(lab plan.Lab, h plan.Host) string { return filepath.Join(lab.HostDir(h), "root-ready") }

// RootReady reports whether the holder with the given pid has got as far as holding. Then it has also become sleep(1): while
// a program with several threads calls execve, its namespaces can't be entered.
func RootReady(lab plan.Lab, h plan.Host, pid int) bool {
	if _, err := os.Stat(readyFile(lab, h)); err != nil {
		return false
	}
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	return err == nil && strings.TrimSpace(string(comm)) == "sleep"
}

// Hold turns the calling process, which must be alone in fresh mount and UTS namespaces and in the node's network
// namespace, into the node's holder: it furnishes the namespaces and then only keeps them alive. It returns on errors
// only. All mounts vanish when the last process of the node does.
func Hold(lab plan.Lab, h plan.Host) error {
	if err := furnish(lab, h); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(h.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := os.WriteFile(readyFile(lab, h), nil, 0o644); err != nil {
		return fmt.Errorf("write ready file: %w", err)
	}
	// sleep(1) is a few hundred kilobytes; this program with all of Kubernetes in it is not.
	err := unix.Exec("/bin/sleep", []string{"lab-node", "infinity"}, os.Environ())
	return fmt.Errorf("run sleep: %w", err)
}

// furnish mounts the node's own /run, /var and /sys over the machine's, and files over some sysctls. The lab's directories stay visible at their
// paths; the rest of the machine's files is shared.
func furnish(lab plan.Lab, h plan.Host) error {
	// Nothing may leak out to the machine, but kubelet and containerd must see each other's mounts.
	for _, flag := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", unix.MS_REC|flag, ""); err != nil {
			return fmt.Errorf("set mount propagation: %w", err)
		}
	}
	run, data, sys := filepath.Join(lab.HostDir(h), "run"), filepath.Join(lab.HostData(h), "var"), filepath.Join(lab.HostDir(h), "sys")
	if err := makeVar(data); err != nil {
		return err
	}
	if err := cover(run, "/run", lab.RunDir()); err != nil {
		return err
	}
	if err := cover(data, "/var", lab.DataDir()); err != nil {
		return err
	}
	if err := coverSys(sys); err != nil {
		return err
	}
	return coverSysctls(filepath.Join(lab.HostDir(h), "sysctl"))
}

// makeVar makes what programs expect to find in /var.
func makeVar(dir string) error {
	for _, sub := range []string{"lib", "log", "tmp", "cache"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("make /var: %w", err)
		}
	}
	for link, target := range map[string]string{"run": "/run", "lock": "/run/lock"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make /var: %w", err)
		}
	}
	return nil
}

// cover mounts dir over target and, inside of it, keeps the directory keep (which lies below target) at its path.
func cover(dir, target, keep string) error {
	rel, err := filepath.Rel(target, keep)
	if err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	inner := filepath.Join(dir, rel)
	if err := os.MkdirAll(inner, 0o755); err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	if err := unix.Mount(keep, inner, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keep %s: %w", keep, err)
	}
	if err := unix.Mount(dir, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cover %s: %w", target, err)
	}
	return nil
}

// coverSys mounts a sysfs that shows the node's network interfaces, with the machine's cgroup mounts in it: kubelet
// dies without those.
func coverSys(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make /sys: %w", err)
	}
	if err := unix.Mount("sysfs", dir, "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	if err := unix.Mount("/sys/fs/cgroup", filepath.Join(dir, "fs/cgroup"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keep cgroups: %w", err)
	}
	if err := unix.Mount(dir, "/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("cover /sys: %w", err)
	}
	return nil
}

// sysctls are those that kubelet sets for the whole machine unless they have these values already.
var sysctls = map[string]int{
	sysctl.VMOvercommitMemory: sysctl.VMOvercommitMemoryAlways,
	sysctl.VMPanicOnOOM:       sysctl.VMPanicOnOOMInvokeOOMKiller,
	sysctl.KernelPanic:        sysctl.KernelPanicRebootTimeout,
	sysctl.KernelPanicOnOops:  sysctl.KernelPanicOnOopsAlways,
	sysctl.RootMaxKeys:        sysctl.RootMaxKeysSetting,
	sysctl.RootMaxBytes:       sysctl.RootMaxBytesSetting,
}

// coverSysctls shows kubelet the values that it wants, so that it leaves the machine's alone: there would be no good
// moment for putting them back.
func coverSysctls(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make sysctls: %w", err)
	}
	for name, value := range sysctls {
		file := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(file, fmt.Appendln(nil, value), 0o644); err != nil {
			return fmt.Errorf("make sysctls: %w", err)
		}
		if err := unix.Mount(file, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover sysctl %s: %w", name, err)
		}
	}
	return nil
}
