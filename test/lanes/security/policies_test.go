//go:build e2e

package security

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// closedPort is a port of the controller's pod that the policies say nothing of. The test listens on it.
const closedPort = 9999

// prometheus is a pod in a namespace of its own, which may scrape metrics when only that may.
const prometheus = `
apiVersion: v1
kind: Namespace
metadata: {name: monitoring}
---
apiVersion: v1
kind: Pod
metadata: {namespace: monitoring, name: prometheus, labels: {app: prometheus}}
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 1
  containers:
  - {name: echo, image: invar-lab/echo:v1, imagePullPolicy: IfNotPresent}
`

// TestNetworkPolicies applies config/network-policies on a cluster that enforces them, by kube-router's firewall. What is closed is
// closed, to pods on the same node and on another, and was open before; and Invar works as it does without.
func TestNetworkPolicies(t *testing.T) {
	ctx := t.Context()
	if err := lab.ApplyText(ctx, prometheus); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = lab.Kubectl(context.WithoutCancel(ctx), "delete", "namespace", "monitoring", "--wait=false")
	})
	if _, err := lab.Kubectl(ctx, "-n", "monitoring", "wait", "--for=condition=Ready", "pod/prometheus", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	enforce(t)
	open := reachable{
		"stranger to metrics": true, "stranger to gossip": true, "stranger to another port": true,
		"neighbour to metrics": true, "neighbour to another port": true,
		"prometheus to metrics": true, "controller to a pod": true,
	}
	wantReachable(t, "without policies", open)

	policies := filepath.Join(lab.Root, "config", "network-policies")
	if _, err := lab.Kubectl(ctx, "apply", "-k", policies); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = lab.Kubectl(context.WithoutCancel(ctx), "delete", "--ignore-not-found", "-k", policies)
	})
	guarded := reachable{
		"stranger to metrics": true, "stranger to gossip": true, "stranger to another port": false,
		"neighbour to metrics": true, "neighbour to another port": false,
		"prometheus to metrics": true, "controller to a pod": false,
	}
	wantReachable(t, "with the policies", guarded)
	wantWhole(t)
	wantReachable(t, "with the policies, after the controller has started anew", guarded)

	// As the comment in the policy says.
	_, err := lab.Kube.NetworkingV1().NetworkPolicies(cluster.Namespace).Patch(ctx, "controller", types.JSONPatchType, []byte(
		`[{"op":"add","path":"/spec/ingress/0/from","value":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}]}]`,
	), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	guarded["stranger to metrics"], guarded["neighbour to metrics"] = false, false
	wantReachable(t, "with metrics for one namespace", guarded)

	if _, err := lab.Kubectl(ctx, "delete", "-k", policies); err != nil {
		t.Fatal(err)
	}
	wantReachable(t, "with the policies gone", open)
}

// enforce runs the enforcer on each node for the time of the test.
func enforce(t *testing.T) {
	t.Helper()
	program := filepath.Join(lab.Root, "bin", "enforcer")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "enforcer", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the enforcer: %v: %s", err, out)
	}
	text, err := lab.Kubectl(t.Context(), "config", "view", "--raw")
	if err != nil {
		t.Fatal(err)
	}
	api, err := lab.Host("control-plane")
	if err != nil {
		t.Fatal(err)
	}
	server := netip.AddrPortFrom(api.IPv4, 6443)
	text = regexp.MustCompile(`https://127\.0\.0\.1:\d+`).ReplaceAllString(text, "https://"+server.String())
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, node := range lab.Nodes() {
		var log bytes.Buffer
		cmd := exec.Command(program, "--kubeconfig", kubeconfig, "--node", node.Name)
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := lab.Do(node.Name, cmd.Start); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil || t.Failed() {
				t.Logf("the enforcer of %s: %v\n%s", node.Name, err, log.Bytes())
			}
		})
	}
}

// reachable says which connections can be made.
type reachable map[string]bool

// wantReachable waits until these connections can be made, and no others of them.
func wantReachable(t *testing.T, when string, want reachable) {
	t.Helper()
	target := controllerPod(t)
	listener := listen(t, target)
	defer listener.Close()
	elsewhere := lab.Nodes()[0].Name
	if elsewhere == target.node {
		elsewhere = lab.Nodes()[1].Name
	}
	stranger, neighbour := podOf(t, clustertest.Namespace, "app=echo", elsewhere), podOf(t, clustertest.Namespace, "app=echo", target.node)
	scraper := podOf(t, "monitoring", "app=prometheus", "")
	clustertest.Eventually(t, when, func(context.Context) error {
		got := reachable{
			"stranger to metrics":       connects(stranger, target, 7472),
			"stranger to gossip":        connects(stranger, target, 7946),
			"stranger to another port":  connects(stranger, target, closedPort),
			"neighbour to metrics":      connects(neighbour, target, 7472),
			"neighbour to another port": connects(neighbour, target, closedPort),
			"prometheus to metrics":     connects(scraper, target, 7472),
			"controller to a pod":       connects(target, stranger, 8080),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("what can be reached (-want +got):\n%s", diff)
		}
		return nil
	})
	t.Logf("%s: %v", when, want)
}

// pod is a running pod.
type pod struct {
	pid  int
	addr netip.Addr
	node string
}

func controllerPod(t *testing.T) pod {
	t.Helper()
	return podOf(t, cluster.Namespace, "component=controller", "")
}

// podOf waits for the one pod with the labels, on the given node if that is not empty, and for its process.
func podOf(t *testing.T, namespace, labels, node string) (found pod) {
	t.Helper()
	clustertest.Eventually(t, "pod "+labels, func(ctx context.Context) error {
		opts := metav1.ListOptions{LabelSelector: labels}
		if node != "" {
			opts.FieldSelector = "spec.nodeName=" + node
		}
		list, err := lab.Kube.CoreV1().Pods(namespace).List(ctx, opts)
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("%d pods", len(list.Items))
		}
		p := list.Items[0]
		command := strings.TrimPrefix(p.Spec.Containers[0].Name, "/")
		pid, err := cluster.ProcessOf(string(p.UID), command)
		if err != nil {
			return err
		}
		found = pod{pid: pid, node: p.Spec.NodeName}
		found.addr, err = netip.ParseAddr(p.Status.PodIP)
		return err
	})
	return found
}

// listen accepts connections in a pod on the port that no policy opens.
func listen(t *testing.T, in pod) (l net.Listener) {
	t.Helper()
	err := cluster.DoAsProcess(in.pid, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(in.addr, closedPort).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "here\n")
			_ = conn.Close()
		}
	}()
	return l
}

// connects reports whether a TCP connection from one pod to another can be made.
func connects(from, to pod, port uint16) bool {
	return cluster.DoAsProcess(from.pid, func() error {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(to.addr, port).String(), time.Second)
		if err == nil {
			err = conn.Close()
		}
		return err
	}) == nil
}

// wantWhole checks that Invar does all that it should: it starts, gives an address, hears the speakers, moves the address when a
// node is lost, and tells about itself.
func wantWhole(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if err := restart(ctx); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if err := lab.Rollout(ctx, cluster.Namespace, what); err != nil {
			t.Fatal(err)
		}
	}
	lab.Create(t, provoked, clustertest.Local)
	lab.WantAddresses(t, provoked, "192.168.1.160")
	lab.WantHTTP(t, "192.168.1.160")
	holder := "node1" // not that of the controller, which is to tell of the move
	if controllerPod(t).node == holder {
		holder = "node2"
	}
	if err := from(ctx, holder); err != nil {
		t.Fatal(err)
	}
	wantAnnounced(t, func(node string) bool { return node == holder })
	if err := lab.Lab(ctx, "cut", holder); err != nil {
		t.Fatal(err)
	}
	defer lab.Heal(t, holder)
	wantAnnounced(t, func(node string) bool { return node != holder })
	lab.WantHTTP(t, "192.168.1.160")
	for _, args := range [][]string{{"status"}, {"why", clustertest.Namespace + "/" + provoked}} {
		got, err := lab.Invar(ctx, args...)
		if err != nil || got.Code != 0 || !strings.Contains(got.Out, "192.168.1.160") {
			t.Errorf("invar %s: %v, exit code %d: %s%s", args[0], err, got.Code, got.Out, got.Err)
		}
	}
}

// wantAnnounced waits until a node of the wanted ones answers for the address, and the Service's condition names it, which the
// controller knows by the gossip only.
func wantAnnounced(t *testing.T, want func(node string) bool) {
	t.Helper()
	clustertest.Eventually(t, "the condition names who answers", func(ctx context.Context) error {
		node, err := lab.Holder(ctx, netip.MustParseAddr("192.168.1.160"))
		if err != nil {
			return err
		}
		s, err := lab.Service(ctx, provoked)
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionAnnounced)
		if c == nil || c.Status != metav1.ConditionTrue || !want(node) || !strings.Contains(c.Message, node) {
			return fmt.Errorf("%s answers, the condition is %+v", node, c)
		}
		return nil
	})
}
