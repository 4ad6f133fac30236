package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
)

// controllerPID finds the process of the one controller of a lab.
func controllerPID(ctx context.Context, c *cluster.Cluster) (int, error) {
	pods, err := c.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "component=controller"})
	if err != nil {
		return 0, fmt.Errorf("list controllers: %w", err)
	}
	if len(pods.Items) != 1 {
		return 0, fmt.Errorf("there are %d controllers, want 1", len(pods.Items))
	}
	return processOf(string(pods.Items[0].UID), "controller")
}

// processOf finds the process of a pod that has the given command name. Its cgroup tells whose it is: the pod's UID is in the
// path, and no other lab has that.
func processOf(podUID, command string) (int, error) {
	commands, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, file := range commands {
		name, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(name)) != command {
			continue // it is another one, or has just ended
		}
		dir := filepath.Dir(file)
		cgroups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err == nil && strings.Contains(strings.ReplaceAll(string(cgroups), "_", "-"), podUID) {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("pod %s has no process named %s", podUID, command)
}

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
