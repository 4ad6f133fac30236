package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Memory is how much of its memory a process has in RAM, in millions of bytes.
type Memory struct {
	Now  float64 // VmRSS
	Peak float64 // VmHWM: the most that it ever was
	Anon float64 // RssAnon: what the process made itself; the rest is files, its own binary above all
}

// MemoryOf returns the memory of a process, see proc_pid_status(5).
func MemoryOf(pid int) (Memory, error) {
	status, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return Memory{}, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	now, err1 := megabytes(string(status), "VmRSS:")
	peak, err2 := megabytes(string(status), "VmHWM:")
	anon, err3 := megabytes(string(status), "RssAnon:")
	return Memory{now, peak, anon}, errors.Join(err1, err2, err3)
}

// megabytes returns the value of a line such as "VmRSS:     41234 kB", where kB are 1,024 bytes, in steps of a tenth.
func megabytes(status, key string) (float64, error) {
	for line := range strings.Lines(status) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == key && fields[2] == "kB" {
			kb, err := strconv.ParseUint(fields[1], 10, 64)
			return float64(kb*1024/100_000) / 10, err
		}
	}
	return 0, fmt.Errorf("no %s in the status of the process", key)
}

// tick is the unit of CPU time in /proc. It is the same on all architectures that Linux runs on today (USER_HZ).
const tick = 10 * time.Millisecond

// CPUOf returns the CPU time that a process has taken since it started, of all its threads, in steps of 10 ms.
func CPUOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
	}
	return cpuTime(string(stat))
}

// cpuTime returns the sum of utime and stime, fields 14 and 15 in proc_pid_stat(5). The command's name, field 2, may have
// spaces and parentheses in it.
func cpuTime(stat string) (time.Duration, error) {
	rest := stat[strings.LastIndexByte(stat, ')')+1:]
	fields := strings.Fields(rest) // from field 3
	if len(fields) < 13 {
		return 0, fmt.Errorf("read CPU time: %q has too few fields", stat)
	}
	user, err1 := strconv.ParseUint(fields[11], 10, 64)
	system, err2 := strconv.ParseUint(fields[12], 10, 64)
	return time.Duration(user+system) * tick, errors.Join(err1, err2)
}

// WaitsOf returns for how long each thread of a process, by its ID, has waited for a processor while it could have run, since it
// started: the second field of /proc/PID/task/TID/schedstat, in nanoseconds (Documentation/scheduler/sched-stats of Linux).
func WaitsOf(pid int) (map[string]time.Duration, error) {
	threads, err := os.ReadDir(procFile(pid, "task"))
	if err != nil {
		return nil, fmt.Errorf("list threads of process %d: %w", pid, err)
	}
	waits := map[string]time.Duration{}
	for _, t := range threads {
		text, err := os.ReadFile(filepath.Join(procFile(pid, "task"), t.Name(), "schedstat"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return nil, fmt.Errorf("read waits of process %d: %w", pid, err)
		}
		var ran, waited time.Duration
		if _, err := fmt.Sscan(string(text), &ran, &waited); err != nil {
			return nil, fmt.Errorf("read waits of process %d: %q: %w", pid, text, err)
		}
		waits[t.Name()] = waited
	}
	return waits, nil
}

func procFile(pid int, name string) string { return filepath.Join("/proc", strconv.Itoa(pid), name) }
