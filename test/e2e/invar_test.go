//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// whyPools has a pool for each reason why a pool may say no.
var whyPools = pools(
	pool("default", "192.168.1.160-192.168.1.169"),
	pool("small", "192.168.1.170/32", "auto-assign: false"),
	pool("shop", "192.168.1.171/32", "auto-assign: false", "namespaces: [shop]"),
	pool("labelled", "192.168.1.172/32", "auto-assign: false", "service-selectors:", "- match-labels: {team: a}"),
	pool("nowhere", "192.168.1.173/32", "auto-assign: false", "interfaces: [eth9]"),
	pool("rack", "192.168.1.174/32", "auto-assign: false", "node-selectors:", "- match-labels: {rack: none}"),
)

// at makes a Service of policy Local without a selector, whose only endpoint is on the given node: nothing is sent there.
func at(t *testing.T, node string) clustertest.Option {
	return func(s *corev1.Service) {
		s.Spec.Selector = nil
		clustertest.Local(s)
		ready, port, protocol := true, int32(8080), corev1.ProtocolTCP
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: clustertest.Namespace, Name: s.Name, Labels: map[string]string{discoveryv1.LabelServiceName: s.Name},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
			Ports:       []discoveryv1.EndpointPort{{Port: &port, Protocol: &protocol}},
			Endpoints: []discoveryv1.Endpoint{{
				Addresses: []string{"10.99.0.1"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			}},
		}
		slices := lab.Kube.DiscoveryV1().EndpointSlices(clustertest.Namespace)
		if _, err := slices.Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = slices.Delete(context.WithoutCancel(t.Context()), s.Name, metav1.DeleteOptions{}) })
	}
}

// from asks for the node that announces, so that the page is the same each time.
func from(node string) clustertest.Option {
	return func(s *corev1.Service) {
		metav1.SetMetaDataAnnotation(&s.ObjectMeta, kube.AnnotationAnnounceFrom, node)
	}
}

// situation is a way in which a Service may fare.
type situation struct {
	name  string
	setUp func(t *testing.T)
	// reason is what the page must say; all of it is in testdata/why/NAME.
	reason string
	code   int
}

func situations() []situation {
	asks := func(key, value string, more ...clustertest.Option) func(*testing.T) {
		return func(t *testing.T) {
			lab.Create(t, "web", append([]clustertest.Option{clustertest.Annotated(key, value)}, more...)...)
		}
	}
	return []situation{
		{"fine", func(t *testing.T) { lab.Create(t, "web", from("node2")) }, "192.168.1.160 is announced by node2 on eth0", 0},
		{"exhausted", func(t *testing.T) {
			lab.Create(t, "first", clustertest.Annotated(wantPool, "small"))
			lab.WantAddresses(t, "first", "192.168.1.170")
			lab.Create(t, "web", clustertest.Annotated(wantPool, "small"))
		}, "pool small: 1 of 1 addresses in use", 3},
		{"unknown-pool", asks(wantPool, "nonsuch"), "pool nonsuch: not configured", 3},
		{"namespace", asks(wantPool, "shop"), "pool shop: not for namespace e2e", 3},
		{"service-selector", asks(wantPool, "labelled"), "not for a Service with these labels", 3},
		{"family", func(t *testing.T) {
			lab.Create(t, "web", clustertest.Families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol))
		}, "pool default: no IPv6 addresses", 3},
		{"in-no-pool", asks(wantAddr, "192.168.9.9"), "address 192.168.9.9: in no pool", 3},
		{"sharing-clash", func(t *testing.T) {
			lab.Create(t, "first", sharing("team", 80))
			lab.WantAddresses(t, "first", "192.168.1.160")
			lab.Create(t, "web", sharing("team", 80), func(s *corev1.Service) {
				metav1.SetMetaDataAnnotation(&s.ObjectMeta, wantAddr, "192.168.1.160")
			})
		}, "port TCP/80 is in use by e2e/first", 3},
		{"invalid-request", asks(wantAddr, "nonsense"), "nonsense", 3},
		{"class", func(t *testing.T) {
			lab.Create(t, "web", func(s *corev1.Service) { class := "example.com/other"; s.Spec.LoadBalancerClass = &class })
		}, "spec.loadBalancerClass is example.com/other", 3},
		{"not-a-load-balancer", func(t *testing.T) {
			lab.Create(t, "web", func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
		}, "It is of type ClusterIP", 3},
		{"no-endpoints", func(t *testing.T) {
			lab.Create(t, "web", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "none"} })
		}, "no endpoint of the Service takes traffic", 3},
		{"no-local-endpoint", func(t *testing.T) { lab.Create(t, "web", at(t, "elsewhere")) }, "no endpoint there takes traffic", 3},
		{"excluded-node", func(t *testing.T) {
			exclude(t, "node1")
			lab.Create(t, "web", at(t, "node1"))
		}, "node1: label node.kubernetes.io/exclude-from-external-load-balancers excludes it", 3},
		{"no-interface", asks(wantPool, "nowhere"), "interface eth9: no such interface", 3},
		{"node-selector", asks(wantPool, "rack"), "the node-selectors of pool rack leave it out", 3},
		{"speaker-down", func(t *testing.T) {
			suspend(t, "node3")
			lab.Create(t, "web", at(t, "node3"))
		}, "node3: no speaker is alive there", 3},
		{"config-broken", func(t *testing.T) {
			lab.Create(t, "web", from("node2"))
			lab.SetConfig(t, "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.1.9-192.168.1.1]\n")
		}, "The newest configuration is not in force: line 4", 0},
		{"conflict", func(t *testing.T) {
			take := give(t, "192.168.1.160")
			lab.Create(t, "web", from("node2"))
			t.Cleanup(take) // before the Service is removed: who answers for it then is waited for
		}, "a host outside the cluster uses it", 3},
		{"stranded", func(t *testing.T) {
			lab.Create(t, "web", from("node2"))
			lab.WantAddresses(t, "web", "192.168.1.160")
			lab.SetConfig(t, pools(pool("other", "192.168.1.180/32")))
		}, "192.168.1.160 lies in no pool any more", 0},
	}
}

// exclude labels a node, for the time of the test.
func exclude(t *testing.T, node string) {
	t.Helper()
	const label = "node.kubernetes.io/exclude-from-external-load-balancers"
	if _, err := lab.Kubectl(t.Context(), "label", "node", node, label+"="); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := lab.Kubectl(context.WithoutCancel(t.Context()), "label", "node", node, label+"-"); err != nil {
			t.Error(err)
		}
	})
}

// suspend stops the speaker of a node, for the time of the test.
func suspend(t *testing.T, node string) {
	t.Helper()
	pid := lab.SpeakerPID(t, node)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
		lab.Heal(t, node)
	})
}

// TestWhy brings a Service into each situation and compares what invar why says with testdata/why. GOLDEN_UPDATE=1 writes these
// files.
func TestWhy(t *testing.T) {
	lab.Configure(t, whyPools)
	for _, s := range situations() {
		t.Run(s.name, func(t *testing.T) {
			if s.name == "config-broken" || s.name == "stranded" {
				t.Cleanup(func() { lab.SetConfig(t, whyPools) })
			}
			s.setUp(t)
			golden := filepath.Join("testdata", "why", s.name)
			want, err := os.ReadFile(golden)
			update := os.Getenv("GOLDEN_UPDATE") == "1"
			if err != nil && !update {
				t.Fatal(err)
			}
			var page string
			clustertest.Eventually(t, "the page is as it should be", func(ctx context.Context) error {
				a, err := lab.Invar(ctx, "why", "-n", clustertest.Namespace, "web")
				if err != nil {
					return err
				}
				page = steady(a.Out)
				if !strings.Contains(page, s.reason) || a.Code != s.code {
					return fmt.Errorf("exit code %d, want %d, and a page that says %q; it says\n%s%s", a.Code, s.code, s.reason, page, a.Err)
				}
				if diff := cmp.Diff(string(want), page); diff != "" && !update {
					return fmt.Errorf("(-want +got):\n%s", diff)
				}
				return nil
			})
			if update {
				writeGolden(t, golden, page)
			}
		})
	}
}

func writeGolden(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

var (
	movesTable = regexp.MustCompile(`(?m)\n\nMOVED .*(\n\S.*)*`)
	ages       = regexp.MustCompile(`\bfor \d+[smhd](\d+s)?\b`)
	macs       = regexp.MustCompile(`\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b`)
	podNames   = regexp.MustCompile(`\b(speaker|controller)-[a-z0-9-]+`)
	columns    = regexp.MustCompile(` {2,}`)
)

// steady replaces what is different each time: times, the moves of earlier tests, names of pods, MACs.
func steady(page string) string {
	page = movesTable.ReplaceAllString(page, "")
	page = ages.ReplaceAllString(page, "for AGE")
	page = macs.ReplaceAllString(page, "MAC")
	page = podNames.ReplaceAllString(page, "$1-POD")
	return columns.ReplaceAllString(page, "  ")
}

// invar runs a command that must end with the given exit code, and returns what it printed.
func invar(t *testing.T, code int, args ...string) cluster.Answer {
	t.Helper()
	a, err := lab.Invar(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	if a.Code != code {
		t.Fatalf("invar %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), a.Code, code, a.Out, a.Err)
	}
	return a
}

// TestStatus compares what invar status says with what is so.
func TestStatus(t *testing.T) {
	lab.Create(t, "web")
	lab.WantAddresses(t, "web", "192.168.1.160")
	lab.Create(t, "waits", clustertest.Annotated(wantPool, "nonsuch"))
	node := lab.WantHolder(t, "192.168.1.160")
	clustertest.Eventually(t, "the status is so", func(ctx context.Context) error {
		a, err := lab.Invar(ctx, "status", "-n", clustertest.Namespace, "-o", "json")
		if err != nil || a.Code != 0 {
			return fmt.Errorf("exit code %d, %w: %s", a.Code, err, a.Err)
		}
		var s explain.Status
		if err := json.Unmarshal([]byte(a.Out), &s); err != nil {
			return err
		}
		return checkStatus(s, node)
	})
	text := invar(t, 0, "status").Out
	for _, want := range []string{"1 of 10", "e2e/web", "pool nonsuch: not configured", "Configuration: in force, 1 pool", "leads"} {
		if !strings.Contains(text, want) {
			t.Errorf("the status does not say %q:\n%s", want, text)
		}
	}
	wantAnnounced(t, "web", "192.168.1.160 from node "+node+" on eth0")
}

func checkStatus(s explain.Status, node string) error {
	pools := []explain.Pool{{Name: "default", Family: "IPv4", Total: 10, InUse: 1, Services: 1}}
	if diff := cmp.Diff(pools, s.Pools); diff != "" {
		return fmt.Errorf("pools (-want +got):\n%s", diff)
	}
	var services, members []string
	for _, v := range s.Services {
		line := v.Service + " " + v.Note
		if h := v.Holder; h != nil && !h.Since.IsZero() {
			line = fmt.Sprintf("%s %s %s %s %v", v.Service, v.Addr, v.Pool, h.Node, h.Interfaces)
		}
		services = append(services, line)
	}
	for _, m := range s.Members {
		n := 0
		if m.Node == node {
			n = 1
		}
		if !m.Controller && (m.State != "announcing" || m.Addresses != n) {
			return fmt.Errorf("member %+v: want it to announce %d addresses", m, n)
		}
		members = append(members, m.State)
	}
	want := []string{"e2e/waits pool nonsuch: not configured", "e2e/web 192.168.1.160 default " + node + " [eth0]"}
	if diff := cmp.Diff(want, services); diff != "" {
		return fmt.Errorf("Services (-want +got):\n%s", diff)
	}
	if want := []string{"announcing", "announcing", "announcing", "leads"}; !cmp.Equal(want, members) {
		return fmt.Errorf("members %q, want %q", members, want)
	}
	return nil
}

// wantAnnounced waits until the condition of a Service says who announces it.
func wantAnnounced(t *testing.T, name, message string) {
	t.Helper()
	clustertest.Eventually(t, "condition "+kube.ConditionAnnounced, func(ctx context.Context) error {
		s, err := lab.Service(ctx, name)
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionAnnounced)
		if c == nil || c.Status != metav1.ConditionTrue || c.Message != message {
			return fmt.Errorf("it is %+v, want %q", c, message)
		}
		return nil
	})
}

// TestWhyWithoutRights asks as a user who may look at Services only: the conditions have to do, and the page says so.
func TestWhyWithoutRights(t *testing.T) {
	lab.Create(t, "web", from("node2"))
	wantAnnounced(t, "web", "192.168.1.160 from node node2 on eth0")
	if _, err := lab.Kubectl(t.Context(), "create", "clusterrolebinding", "e2e-viewer", "--clusterrole=view", "--user=viewer"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := lab.Kubectl(context.WithoutCancel(t.Context()), "delete", "clusterrolebinding", "e2e-viewer"); err != nil {
			t.Error(err)
		}
	})
	clustertest.Eventually(t, "the conditions are told", func(ctx context.Context) error {
		a, err := lab.Invar(ctx, "why", "-n", clustertest.Namespace, "web", "--as", "viewer")
		if err != nil {
			return err
		}
		for _, want := range []string{
			"By its conditions it is served: 192.168.1.160 from node node2 on eth0.", "! The controller can't be asked: ", "orbidden",
		} {
			if a.Code != 0 || !strings.Contains(a.Out, want) {
				return fmt.Errorf("exit code %d, and no %q:\n%s%s", a.Code, want, a.Out, a.Err)
			}
		}
		return nil
	})
}

// TestMove moves an address from node to node, without a gap.
func TestMove(t *testing.T) {
	addr, node := lab.AnnouncedService(t, "moved")
	ip := addr.Addr().String()
	to := "node1"
	if node == to {
		to = "node2"
	}
	lab.WantNoFailure(t, "the address is moved", addr, func() {
		if out := invar(t, 0, "move", ip, "--to", to).Out; !strings.HasPrefix(out, ip+" is announced by "+to) {
			t.Errorf("it says %q", out)
		}
		if now := lab.WantHolder(t, ip); now != to {
			t.Errorf("%s is at %s, want %s", ip, now, to)
		}
	})
	wantAnnounced(t, "moved", ip+" from node "+to+" on eth0")
	var why explain.Why
	if err := json.Unmarshal([]byte(invar(t, 0, "why", clustertest.Namespace+"/moved", "-o", "json").Out), &why); err != nil {
		t.Fatal(err)
	}
	last := why.Addresses[0].Moves[0]
	if last.From != node || last.To != to || last.Cause != "preferred" || time.Since(last.At).Abs() > time.Minute {
		t.Errorf("the last move is %+v, want one from %s to %s, preferred, a moment ago", last, node, to)
	}
	invar(t, 0, "move", ip, "--to", "")
	if s, err := lab.Service(t.Context(), "moved"); err != nil || s.Annotations[kube.AnnotationAnnounceFrom] != "" {
		t.Errorf("the wish is still there: %v, %v", s.Annotations, err)
	}
	exclude(t, node)
	a := invar(t, 4, "move", ip, "--to", node, "--timeout", "2s")
	if !strings.Contains(a.Err, node+" may not announce "+ip+": label node.kubernetes.io/exclude") {
		t.Errorf("a move to an excluded node: %q", a.Err)
	}
	invar(t, 1, "move", ip, "--to", "nonsuch")
	invar(t, 1, "move", "192.168.9.9", "--to", node)
}

// TestDrain takes a node out and in again, and leaves a label alone that somebody else has set.
func TestDrain(t *testing.T) {
	addr, node := lab.AnnouncedService(t, "drained")
	lab.WantNoFailure(t, "the node is drained", addr, func() {
		invar(t, 0, "drain", node)
		if now := lab.WantHolder(t, addr.Addr().String()); now == node {
			t.Errorf("%s still announces", node)
		}
	})
	invar(t, 0, "drain", node) // it is already
	invar(t, 0, "undrain", node)
	if out := invar(t, 0, "undrain", node).Out; out != node+" is not drained\n" {
		t.Errorf("undrained twice: %q", out)
	}
	n, err := lab.Kube.CoreV1().Nodes().Get(t.Context(), node, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]; excluded || n.Annotations["invar.io/drained"] != "" {
		t.Errorf("marks are left: %v, %v", n.Labels, n.Annotations)
	}
	exclude(t, node)
	invar(t, 0, "drain", node)
	if a := invar(t, 1, "undrain", node); !strings.Contains(a.Err, "was not set by drain") {
		t.Errorf("a label of somebody else's: %q", a.Err)
	}
}
