package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Identity names one process for good.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks since boot, field 22 of /proc/PID/stat, proc_pid_stat(5)
}

// Spec says how to start a process.
type Spec struct {
	Argv    []string
	Netns   string   // path of a network namespace, empty for the caller's
	Join    int      // pid whose mount and UTS namespaces to join, 0 for none
	Unshare bool     // give it mount and UTS namespaces of its own
	Cgroups []string // directories whose cgroup.procs to enter
	Log     string   // file that gets standard output and error, appended
	Inherit *os.File // file that the process gets as InheritedFD, nil for none
}

// InheritedFD is the descriptor of Spec.Inherit in the process: the first after standard error.
const InheritedFD = 3

// enter is the shell's part of a start: the process enters its cgroups before it becomes anything else, so there is
// no moment at which a child of it could escape them.
const enter = `for c in $LAB_CGROUPS; do echo $$ >"$c/cgroup.procs" || exit 1; done; unset LAB_CGROUPS; exec "$@"`

// Start starts a process in a session of its own. It keeps running when the caller ends.
func Start(s Spec) (Identity, error) {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return Identity{}, fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", enter, "sh"}, s.command()...)...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(Env(), "LAB_CGROUPS="+strings.Join(s.Cgroups, " "))
	if s.Inherit != nil {
		cmd.ExtraFiles = []*os.File{s.Inherit}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.Unshare {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS
	}
	if err := cmd.Start(); err != nil {
		return Identity{}, fmt.Errorf("start %s: %w", s.Argv[0], err)
	}
	// The process is never waited for, except by its next parent; reading its start time cannot fail before that.
	id, err := Identify(cmd.Process.Pid)
	if err != nil {
		return Identity{}, fmt.Errorf("identify %s: %w", s.Argv[0], err)
	}
	return id, cmd.Process.Release()
}

// command wraps Argv in nsenter, which opens all namespaces before it enters any, so paths are the machine's.
func (s Spec) command() []string {
	if s.Netns == "" {
		return s.Argv
	}
	argv := []string{"nsenter", "--net=" + s.Netns}
	if s.Join != 0 {
		dir := fmt.Sprintf("/proc/%d/ns/", s.Join)
		argv = append(argv, "--mount="+dir+"mnt", "--uts="+dir+"uts")
	}
	return append(append(argv, "--"), s.Argv...)
}

// Env is the environment of the lab's processes: nothing of the caller's, which might hold proxies or credentials.
func Env() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
}

// Identify reads the identity of a process.
func Identify(pid int) (Identity, error) {
	s, err := readStat(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: s.start}, nil
}

// Alive reports whether that very process still runs. A zombie does not.
func (id Identity) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	s, err := readStat(id.PID)
	return err == nil && !s.ended() && s.start == id.Start
}

// Zombie reports whether the process has ended and its parent has not noticed yet.
func Zombie(pid int) bool {
	s, err := readStat(pid)
	return err == nil && s.ended()
}

// Kill ends the process with SIGKILL if it is still that very process.
func (id Identity) Kill() error {
	if !id.Alive() {
		return nil
	}
	if err := syscall.Kill(id.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill process %d: %w", id.PID, err)
	}
	return nil
}

// stat is what the kernel tells about a process in /proc/PID/stat, proc_pid_stat(5).
type stat struct {
	state   string // field 3
	threads int    // field 20
	start   uint64 // field 22
}

// ended reports whether only the process's exit code is left. The first thread of a process may be a zombie and the
// process go on: it looks so for a moment when another thread of it has called execve.
func (s stat) ended() bool { return (s.state == "Z" || s.state == "X") && s.threads <= 1 }

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, fmt.Errorf("read process: %w", err)
	}
	s, err := parseStat(string(data))
	if err != nil {
		return stat{}, fmt.Errorf("read process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat skips the second field first: the command in parentheses, which may itself hold blanks and parentheses.
func parseStat(text string) (stat, error) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]) // from field 3 on
	if len(fields) < 20 {
		return stat{}, fs.ErrInvalid
	}
	threads, err := strconv.Atoi(fields[17])
	if err != nil {
		return stat{}, fmt.Errorf("parse number of threads: %w", err)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("parse start time: %w", err)
	}
	return stat{state: fields[0], threads: threads, start: start}, nil
}

// BootID identifies the running boot of the machine.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
