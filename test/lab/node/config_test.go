package node

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/invar-lb/invar/test/lab/control"
	"github.com/invar-lb/invar/test/lab/labtest"
	"github.com/invar-lb/invar/test/lab/pki"
	"github.com/invar-lb/invar/test/lab/plan"
)

var testLab = plan.Lab{Name: "lab", Nodes: 3, ProxyMode: "nftables"}

func TestConfig(t *testing.T) {
	h := testLab.NodeHosts()[1]
	labtest.Golden(t, "containerd.toml", containerdConfig(testLab, h))
	labtest.Golden(t, "cni.json", cniConfig(h))
	labtest.Golden(t, "kubelet.yaml", kubeletConfig(testLab, h))
	labtest.Golden(t, "kube-proxy.yaml", proxyConfig(testLab, h))
	var lines []string
	for _, p := range []control.Process{Containerd(testLab, h), Kubelet(testLab, h), Proxy(testLab, h)} {
		lines = append(lines, p.Name+" \\\n  "+strings.Join(p.Args, " \\\n  ")+"\n")
	}
	labtest.Golden(t, "commands.sh", strings.Join(lines, ""))
}

// TestConfigIsKnown decodes what Kubernetes will decode, strictly: it would ignore a field that it does not know.
func TestConfigIsKnown(t *testing.T) {
	for _, mode := range plan.ProxyModes() {
		lab := plan.Lab{Name: "lab", Nodes: plan.MaxNodes, ProxyMode: mode}
		for _, h := range lab.NodeHosts() {
			var kubelet kubeletconfig.KubeletConfiguration
			if err := yaml.UnmarshalStrict([]byte(kubeletConfig(lab, h)), &kubelet); err != nil {
				t.Fatalf("kubelet's configuration: %v", err)
			}
			if got, want := kubelet.CgroupRoot, "/"+h.Cgroup; got != want {
				t.Errorf("kubelet's cgroup: %q, want %q", got, want)
			}
			var proxy proxyconfig.KubeProxyConfiguration
			if err := yaml.UnmarshalStrict([]byte(proxyConfig(lab, h)), &proxy); err != nil {
				t.Fatalf("kube-proxy's configuration: %v", err)
			}
			if string(proxy.Mode) != mode || proxy.HostnameOverride != h.Name {
				t.Errorf("kube-proxy: mode %q for %q, want %q for %q", proxy.Mode, proxy.HostnameOverride, mode, h.Name)
			}
			if !json.Valid([]byte(cniConfig(h))) {
				t.Errorf("CNI configuration of %s is no JSON", h.Name)
			}
		}
	}
}

func TestFiles(t *testing.T) {
	ca, err := pki.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	h := testLab.NodeHosts()[0]
	files, err := Files(testLab, h, ca)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ca.crt", "cni/10-lab.conflist", "containerd.toml", "kube-proxy.kubeconfig", "kube-proxy.yaml",
		"kubelet.crt", "kubelet.key", "kubelet.kubeconfig", "kubelet.yaml", "resolv.conf",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	flannel, err := testLab.With(plan.Options{PodNetwork: "flannel"})
	if err != nil {
		t.Fatal(err)
	}
	if files, err = Files(flannel, h, ca); err != nil || files["cni/10-lab.conflist"] != nil {
		t.Errorf("with flannel there is a pod network before flannel writes one, %v", err)
	}
	if !strings.Contains(string(files["containerd.toml"]), FlannelCNIDir) {
		t.Errorf("containerd does not look into %s, where flannel writes", FlannelCNIDir)
	}
	// Every file of the node's directory that a file or a flag names must be one of them.
	text := string(files["kubelet.yaml"]) + string(files["kube-proxy.yaml"])
	for _, p := range []control.Process{Containerd(testLab, h), Kubelet(testLab, h), Proxy(testLab, h)} {
		text += strings.Join(p.Args, "\n") + "\n"
	}
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \n=\"", r) }) {
		if rel, ok := strings.CutPrefix(part, testLab.HostDir(h)+"/"); ok && files[rel] == nil {
			t.Errorf("%s is named and not made", part)
		}
	}
}

// TestSocketPaths checks that a unix socket has the same file for the node and for the machine, and a path that the
// kernel takes.
func TestSocketPaths(t *testing.T) {
	lab, err := plan.New("abcdefghijkl", plan.MaxNodes, "nftables")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range lab.NodeHosts() {
		path := Socket(lab, h)
		if rel, err := filepath.Rel(lab.HostDir(h), path); err != nil || "/"+rel != socket {
			t.Errorf("socket %s is not %s of %s", path, socket, h.Name)
		}
		if len(path) > 107 {
			t.Errorf("socket %s: paths of sockets have at most 107 bytes", path)
		}
	}
}
