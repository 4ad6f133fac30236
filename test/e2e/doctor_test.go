//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/invar-lb/invar/pkg/doctor"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// examine lets the doctor look at the lab.
func examine(ctx context.Context) (r doctor.Report, err error) {
	a, err := lab.Invar(ctx, "doctor", "-o", "json")
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(a.Out), &r); err != nil {
		return r, fmt.Errorf("read the report: %w\n%s", err, a.Err)
	}
	if found := len(r.Findings) > 0; found != (a.Code == 3) {
		return r, fmt.Errorf("exit code %d with %d findings", a.Code, len(r.Findings))
	}
	return r, nil
}

// wantFindings waits for the doctor to find something by these checks, and nothing else, each with evidence that contains the
// text.
func wantFindings(t *testing.T, want map[string]string) {
	t.Helper()
	clustertest.Eventually(t, fmt.Sprintf("the doctor finds %v", want), func(ctx context.Context) error {
		r, err := examine(ctx)
		if err != nil {
			return err
		}
		found := map[string]bool{}
		for _, f := range r.Findings {
			text, expected := want[f.Check]
			if !expected || !strings.Contains(strings.Join(f.Evidence, "\n"), text) {
				return fmt.Errorf("it finds %+v", f)
			}
			found[f.Check] = true
		}
		if len(found) < len(want) {
			return fmt.Errorf("it finds only %v", found)
		}
		for _, u := range r.Unknown {
			if !strings.Contains(u, "kube-proxy") { // the lab has it as a process, without a ConfigMap
				return fmt.Errorf("it does not know: %s", u)
			}
		}
		return nil
	})
}

// apply makes objects for the time of the test.
func apply(t *testing.T, text string, remove ...string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := lab.Kubectl(context.WithoutCancel(t.Context()), append([]string{"delete", "--ignore-not-found"}, remove...)...); err != nil {
			t.Error(err)
		}
	})
	if err := lab.ApplyText(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

// command runs a command on a host of the lab, and undo after the test.
func command(t *testing.T, host string, undo []string, args ...string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := lab.Run(context.WithoutCancel(t.Context()), host, undo[0], undo[1:]...); err != nil {
			t.Error(err)
		}
	})
	if _, err := lab.Run(t.Context(), host, args[0], args[1:]...); err != nil {
		t.Fatal(err)
	}
}

// TestDoctor seeds each fault that a lab can have, and wants the doctor to find it and nothing else.
func TestDoctor(t *testing.T) {
	const kubeProxy = "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: kube-system, name: kube-proxy}\n" +
		"data:\n  config.conf: |\n    mode: ipvs\n    ipvs: {strictARP: false}\n"
	const rival = "apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-rival}\n---\n" +
		"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {namespace: e2e-rival, name: speaker}\nspec:\n" +
		"  selector: {matchLabels: {app: rival}}\n  template:\n    metadata: {labels: {app: rival}}\n    spec:\n" +
		"      nodeSelector: {never: there}\n      containers: [{name: speaker, image: 'quay.io/metallb/speaker:v0.16.1'}]\n"
	node := lab.Nodes()[0]
	tests := []struct {
		name string
		seed func(t *testing.T)
		want map[string]string
	}{
		{"nothing", func(*testing.T) {}, nil},
		{"strictARP", func(t *testing.T) { apply(t, kubeProxy, "-n", "kube-system", "configmap", "kube-proxy") }, map[string]string{
			"strict-arp": "strictARP: false",
		}},
		{"excluded", func(t *testing.T) {
			for _, h := range lab.Nodes() {
				exclude(t, h.Name)
			}
		}, map[string]string{"excluded": node.Name}},
		{"wanted node", func(t *testing.T) { lab.Create(t, "wish", clustertest.Annotated("invar.io/announce-from", "nobody")) }, map[string]string{
			"excluded": `wants node "nobody"`,
		}},
		{"blocked port", func(t *testing.T) {
			for _, h := range lab.Nodes() {
				block(t, h.Name)
			}
		}, map[string]string{"port": node.Name}},
		{"overlap", func(t *testing.T) {
			lab.Configure(t, pools(pool("default", node.IPv4.String()+"/32, 10.96.3.0/24, 10.244.1.0/30")))
		}, map[string]string{"overlap": "the pods of node"}},
		{"foreign host", func(t *testing.T) {
			take := give(t, "192.168.1.160")
			lab.Create(t, "foreign")
			t.Cleanup(take) // before the Service goes, which waits until nobody answers
		}, map[string]string{"conflict": strangerMAC(t)}},
		{"no interface", func(t *testing.T) {
			lab.Configure(t, pools(pool("default", "192.168.1.160/32", "interfaces: [nosuch0]")))
		}, map[string]string{"interface": "the pool wants nosuch0"}},
		{"reverse path", func(t *testing.T) {
			command(t, node.Name, []string{"ip", "link", "del", "lan2"}, "ip", "link", "add", "lan2", "type", "veth", "peer", "name", "lan2p")
			for _, args := range []string{
				"ip link set lan2p up", "ip link set lan2 up", "ip addr add 10.77.0.1/24 dev lan2", "sysctl -qw net.ipv4.conf.lan2.rp_filter=1",
			} {
				words := strings.Fields(args)
				if _, err := lab.Run(t.Context(), node.Name, words[0], words[1:]...); err != nil {
					t.Fatal(err)
				}
			}
			lab.Configure(t, pools(pool("default", "10.77.0.100/32")))
		}, map[string]string{"rp-filter": "node " + node.Name + ": lan2"}},
		{"rival", func(t *testing.T) { apply(t, rival, "namespace", "e2e-rival") }, map[string]string{"rival": "DaemonSet e2e-rival/speaker"}},
		{"mistake", func(t *testing.T) { lab.Configure(t, "address-pools: 5") }, map[string]string{"config": "must be a list"}},
		{"no controller", func(t *testing.T) {
			t.Cleanup(func() { scale(t, 1) })
			scale(t, 0)
		}, map[string]string{"controller": "there is no pod"}},
		{"speaker down", func(t *testing.T) { suspend(t, node.Name) }, map[string]string{"speaker": "node " + node.Name}},
		{"nothing any more", func(*testing.T) {}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.seed(t)
			wantFindings(t, tt.want)
			if tt.want != nil {
				t.Log("\n" + invar(t, 3, "doctor").Out)
			} else {
				t.Log("\n" + invar(t, 0, "doctor").Out)
			}
		})
	}
}

// TestMigrate reads resources of MetalLB's kinds from the API server.
func TestMigrate(t *testing.T) {
	kinds := map[string]string{"IPAddressPool": "ipaddresspools", "L2Advertisement": "l2advertisements", "BGPPeer": "bgppeers"}
	for kind, plural := range kinds {
		name := plural + ".metallb.io"
		apply(t, fmt.Sprintf(crd, name, kind, plural, strings.ToLower(kind)), "crd", name)
		if _, err := lab.Kubectl(t.Context(), "wait", "--for=condition=Established", "crd/"+name, "--timeout=30s"); err != nil {
			t.Fatal(err)
		}
	}
	objects := ""
	for kind, spec := range map[string]string{
		"IPAddressPool":   "{addresses: [192.168.1.160-192.168.1.169], serviceAllocation: {priority: 5, namespaces: [e2e]}}",
		"L2Advertisement": "{ipAddressPools: [lan], interfaces: [eth0]}",
		"BGPPeer":         "{myASN: 1, peerASN: 2, peerAddress: 192.168.1.1}",
	} {
		objects += fmt.Sprintf("---\napiVersion: metallb.io/v1beta1\nkind: %s\nmetadata: {namespace: %s, name: lan}\nspec: %s\n",
			kind, cluster.Namespace, spec)
	}
	clustertest.Eventually(t, "the API server takes the resources", func(ctx context.Context) error { return lab.ApplyText(ctx, objects) })
	a, err := lab.Invar(t.Context(), "migrate")
	if err != nil {
		t.Fatal(err)
	}
	const want = "  config: |\n    address-pools:\n    - name: lan\n      protocol: layer2\n      addresses:\n" +
		"      - 192.168.1.160-192.168.1.169\n      priority: 5\n      namespaces:\n      - e2e\n      interfaces:\n      - eth0\n"
	if a.Code != 3 || !strings.HasSuffix(a.Out, want) || !strings.Contains(a.Err, "BGPPeer lan: not carried over") {
		t.Errorf("invar migrate: %+v", a)
	}
}

// crd is a definition that takes anything, with places for its name, kind, plural and singular.
const crd = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %s}
spec:
  group: metallb.io
  scope: Namespaced
  names: {kind: %s, plural: %s, singular: %s}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
