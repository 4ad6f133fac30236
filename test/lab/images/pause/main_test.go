package main

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"

	"github.com/invar-lb/invar/test/lab/labtest"
)

// TestReap starts children and waits for none: reap must.
func TestReap(t *testing.T) {
	var pids []int
	for range 3 {
		cmd := exec.Command("true")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	labtest.WaitFor(t, "reaping", func() bool {
		reap()
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				return false
			}
		}
		return true
	})
}
