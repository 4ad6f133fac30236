package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// memory is how much of its memory a process has in RAM, in millions of bytes.
type memory struct{ now, peak float64 }

// memoryOf reads VmRSS and VmHWM, see proc_pid_status(5).
func memoryOf(pid int) (memory, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return memory{}, fmt.Errorf("read memory of the controller: %w", err)
	}
	now, err1 := megabytes(string(status), "VmRSS:")
	peak, err2 := megabytes(string(status), "VmHWM:")
	return memory{now, peak}, errors.Join(err1, err2)
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
