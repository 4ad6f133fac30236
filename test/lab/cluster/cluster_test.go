package cluster

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
	"github.com/invar-lb/invar/test/lab/state"
)

func TestLacking(t *testing.T) {
	const kernel = "IPVS in its kernel (CONFIG_IP_VS, module ip_vs)"
	const ipset = "the command ipset (Debian package ipset)"
	for _, tt := range []struct {
		mode          string
		kernel, ipset bool
		want          []string
	}{
		{"nftables", false, false, nil},
		{"iptables", false, false, nil},
		{"ipvs", true, true, nil},
		{"ipvs", false, true, []string{kernel}},
		{"ipvs", true, false, []string{ipset}},
		{"ipvs", false, false, []string{kernel, ipset}},
	} {
		exists := func(path string) bool { return tt.kernel && path == "/proc/net/ip_vs" }
		found := func(command string) bool { return tt.ipset && command == "ipset" }
		if diff := cmp.Diff(tt.want, lacking(tt.mode, exists, found)); diff != "" {
			t.Errorf("mode %s, kernel %t, ipset %t (-want +got):\n%s", tt.mode, tt.kernel, tt.ipset, diff)
		}
	}
}

// TestCheck looks at labs that must not be used as they are. There is no lab of that name, so even the best of them
// lacks its namespaces.
func TestCheck(t *testing.T) {
	boot, err := proc.BootID()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		st   state.State
		want string
	}{
		{state.State{BootID: "another", Complete: true}, "the machine has been restarted"},
		{state.State{BootID: boot}, "an earlier start did not finish"},
		{state.State{BootID: boot, Complete: true}, "a network namespace is gone"},
	} {
		tt.st.Name, tt.st.Nodes = "nosuchlab", 1
		if err := check(&tt.st); err == nil || err.Error() != tt.want {
			t.Errorf("check: %v, want %q", err, tt.want)
		}
	}
}

func TestComponentOf(t *testing.T) {
	lab := plan.Lab{Name: "nosuchlab", Nodes: 1}
	for _, tt := range []struct {
		host, component, process string // process: its name in the state, empty for an error
	}{
		{"control-plane", "etcd", "etcd"},
		{"control-plane", "kube-apiserver", "kube-apiserver"},
		{"control-plane", "kube-controller-manager", "kube-controller-manager"},
		{"control-plane", "kube-scheduler", "kube-scheduler"},
		{"node1", "kubelet", "kubelet-node1"},
		{"node1", "kube-proxy", "kube-proxy-node1"},
		{"node1", "etcd", ""},
		{"control-plane", "kubelet", ""},
		{"client", "kubelet", ""},
	} {
		h, err := lab.Host(tt.host)
		if err != nil {
			t.Fatal(err)
		}
		p, err := componentOf(lab, h, tt.component)
		if (err != nil) != (tt.process == "") {
			t.Errorf("%s of %s: %v, want error %t", tt.component, tt.host, err, tt.process == "")
		}
		if err == nil && (p.Name != tt.component || processName(h, p.Name) != tt.process) {
			t.Errorf("%s of %s: %s, process %s, want process %s", tt.component, tt.host, p.Name, processName(h, p.Name), tt.process)
		}
	}
}

func TestDeadProcess(t *testing.T) {
	me, err := proc.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	dead := proc.Identity{PID: me.PID, Start: me.Start + 1}
	for _, tt := range []struct {
		what string
		p    state.Process
		want string
	}{
		{"about to be started", state.Process{}, ""},
		{"running", state.Process{Identity: me}, ""},
		{"ended", state.Process{Identity: dead}, "process etcd has ended"},
		{"killed", state.Process{Identity: dead, Killed: true}, ""},
	} {
		tt.p.Name = "etcd"
		st := &state.State{Name: "nosuchlab", Processes: []state.Process{tt.p}}
		b := builder{lab: st.Lab(), state: st}
		if err := b.dead(); (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.want)
		}
	}
}

func TestMountPoints(t *testing.T) {
	mounts := `/dev/vda / ext4 rw 0 0
tmpfs /run/lab/a tmpfs rw 0 0
tmpfs /run/lab/a/b/c tmpfs rw 0 0
tmpfs /run/labor tmpfs rw 0 0
overlay /var/lab overlay rw 0 0
`
	want := []string{"/run/lab/a/b/c", "/run/lab/a", "/var/lab"}
	if diff := cmp.Diff(want, mountPoints(mounts, "/run/lab", "/var/lab")); diff != "" {
		t.Errorf("mount points (-want +got):\n%s", diff)
	}
}

// TestLock has one holder of a lock remove the file, as Down does, while another waits for it: the other must get a
// lock that still keeps a third out.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "base", "lab.lock")
	unlock, err := lock(path, NewProgress(new(bytes.Buffer)))
	if err != nil {
		t.Fatal(err)
	}
	second := startLock(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	unlock()
	unlock = <-second
	third := startLock(t, path)
	select {
	case <-third:
		t.Error("two have the lock")
	default:
	}
	unlock()
	(<-third)()
}

// startLock waits for a lock that somebody has. It returns when it waits.
func startLock(t *testing.T, path string) <-chan func() {
	t.Helper()
	said := make(says, 1)
	locked := make(chan func(), 1)
	go func() {
		unlock, err := lock(path, NewProgress(said))
		if err != nil {
			t.Errorf("lock: %v", err)
			unlock = func() {}
		}
		locked <- unlock
	}()
	if line := <-said; !strings.Contains(line, "waiting for another command") {
		t.Errorf("said %q", line)
	}
	return locked
}

// says passes on what is written.
type says chan string

func (s says) Write(text []byte) (int, error) {
	s <- string(text)
	return len(text), nil
}

func TestReadyNodes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/nodes" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"kind":"NodeList","apiVersion":"v1","items":[
			{"metadata":{"name":"node1"},"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":"True"}]}},
			{"metadata":{"name":"node2"},"status":{"conditions":[{"type":"DiskPressure","status":"True"},{"type":"Ready","status":"False"}]}},
			{"metadata":{"name":"node3"},"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}},
			{"metadata":{"name":"node4"}}]}`))
	}))
	defer server.Close()
	c, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ready, err := readyNodes(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"node1": true}, ready); diff != "" {
		t.Errorf("ready nodes (-want +got):\n%s", diff)
	}
}

func TestWriteAll(t *testing.T) {
	dir := t.TempDir()
	if err := writeAll(dir, map[string][]byte{"cni/a": []byte("x"), "b": []byte("y")}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"cni/a": "x", "b": "y"} {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want nobody else to read it", name, info, err)
		}
	}
}

func TestLastLines(t *testing.T) {
	for _, tt := range []struct {
		text, want string
	}{
		{"", ""},
		{"a\n", "a"},
		{"a\nb\nc\n\n", "b\nc"},
	} {
		if got := lastLines(tt.text, 2); got != tt.want {
			t.Errorf("lastLines(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}
