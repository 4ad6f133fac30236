package cluster

import (
	"os"
	"testing"
	"time"
)

func TestMegabytes(t *testing.T) {
	const status = "Name:\tcontroller\nVmHWM:\t   52000 kB\nVmRSS:\t   41234 kB\nThreads:\t9\n"
	for _, tt := range []struct {
		key  string
		want float64
		err  bool
	}{
		{key: "VmRSS:", want: 42.2},
		{key: "VmHWM:", want: 53.2},
		{key: "VmSwap:", err: true},
		{key: "Threads:", err: true},
	} {
		got, err := megabytes(status, tt.key)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("%s: got %v, %v, want %v, error %t", tt.key, got, err, tt.want, tt.err)
		}
	}
}

func TestCPUTime(t *testing.T) {
	const fields = " S 1 2 3 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 9 0 3000 1 1"
	for _, tt := range []struct {
		name, stat string
		want       time.Duration
		err        bool
	}{
		{name: "plain", stat: "42 (speaker)" + fields, want: 120 * time.Millisecond},
		{name: "spaces in the name", stat: "42 (a) b (c)" + fields, want: 120 * time.Millisecond},
		{name: "cut off", stat: "42 (speaker) S 1 2", err: true},
		{name: "empty", err: true},
	} {
		got, err := cpuTime(tt.stat)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("%s: got %v, %v, want %v, error %t", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// TestUsage reads the figures of this very process.
func TestUsage(t *testing.T) {
	m, err := MemoryOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if m.Anon <= 0 || m.Now < m.Anon || m.Peak < m.Now {
		t.Errorf("memory makes no sense: %+v", m)
	}
	if waits, err := WaitsOf(os.Getpid()); err != nil || len(waits) == 0 {
		t.Errorf("waits of the threads: %v, %v", waits, err)
	}
	for begin := time.Now(); ; {
		cpu, err := CPUOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if cpu > 0 {
			return
		}
		if time.Since(begin) > 10*time.Second {
			t.Fatal("no CPU time after seconds of work")
		}
	}
}
