//go:build e2e

package security

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/test/cluster"
)

// netRaw is CAP_NET_RAW alone, as proc_pid_status(5) writes it.
const netRaw, nothing = "0000000000002000", "0000000000000000"

// TestProcesses looks at what the kernel says of the running processes, whatever the manifest asks for.
func TestProcesses(t *testing.T) {
	for _, pod := range pods(t) {
		component := pod.Labels["component"]
		pid, err := cluster.ProcessOf(string(pod.UID), component)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534",
			"CapEff": nothing, "CapPrm": nothing, "CapBnd": nothing, "CapInh": nothing, "CapAmb": nothing,
			"NoNewPrivs": "1", "Seccomp": "2", // 2: a filter
		}
		if component == "speaker" {
			want["Uid"], want["Gid"] = "0 0 0 0", "0 0 0 0"
			want["CapEff"], want["CapPrm"], want["CapBnd"] = netRaw, netRaw, netRaw
		}
		t.Run(component+" on "+pod.Spec.NodeName, func(t *testing.T) {
			if diff := cmp.Diff(want, status(t, pid, want)); diff != "" {
				t.Errorf("what the kernel says (-want +got):\n%s", diff)
			}
			for _, dir := range []string{"/", "/etc", "/tmp"} {
				file := fmt.Sprintf("/proc/%d/root%s/written", pid, dir)
				err := os.WriteFile(file, nil, 0o600)
				if err == nil {
					os.Remove(file)
				}
				if !errors.Is(err, syscall.EROFS) && !errors.Is(err, syscall.ENOENT) {
					t.Errorf("writing into its %s: %v, want %v", dir, err, syscall.EROFS)
				}
			}
		})
	}
}

// status returns those lines of a process's status that are wanted.
func status(t *testing.T, pid int, keys map[string]string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if _, ok := keys[key]; ok {
			got[key] = strings.Join(strings.Fields(value), " ")
		}
	}
	return got
}
