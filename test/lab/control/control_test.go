package control

import (
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/test/lab/labtest"
	"github.com/invar-lb/invar/test/lab/pki"
	"github.com/invar-lb/invar/test/lab/plan"
)

var testLab = plan.Lab{Name: "lab", Nodes: 3, ProxyMode: "nftables"}

// askedFor is testLab with every option.
var askedFor = plan.Lab{
	Name: "lab", Nodes: 3, ProxyMode: "nftables", Options: plan.Options{Audit: "metallb-system", FeatureGates: "WatchList=false"},
}

func processes(lab plan.Lab) []Process {
	return []Process{Etcd(lab), APIServer(lab), ControllerManager(lab), Scheduler(lab)}
}

func TestProcesses(t *testing.T) {
	var lines []string
	for _, p := range processes(testLab) {
		lines = append(lines, p.Name+" \\\n  "+strings.Join(p.Args, " \\\n  ")+"\n")
	}
	labtest.Golden(t, "commands.sh", strings.Join(lines, ""))
}

// TestOptions checks which flags options add.
func TestOptions(t *testing.T) {
	var got []string
	plain := APIServer(testLab).Args
	for _, arg := range APIServer(askedFor).Args {
		if !slices.Contains(plain, arg) {
			got = append(got, arg)
		}
	}
	want := []string{
		"--audit-policy-file=/run/invar-lab/lab/control-plane/audit-policy.yaml",
		"--audit-log-path=/run/invar-lab/lab/logs/audit.log",
		"--feature-gates=WatchList=false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flags that options add (-want +got):\n%s", diff)
	}
}

// TestCredentials checks that each file that a flag names is made, and no other.
func TestCredentials(t *testing.T) {
	for _, lab := range []plan.Lab{testLab, askedFor} {
		checkCredentials(t, lab)
	}
}

func checkCredentials(t *testing.T, lab plan.Lab) {
	t.Helper()
	files := credentialsOf(t, lab)
	named := make(map[string]bool)
	for _, p := range processes(lab) {
		for _, arg := range p.Args {
			_, value, _ := strings.Cut(arg, "=")
			if name, ok := strings.CutPrefix(value, lab.HostDir(lab.ControlPlane())+"/"); ok {
				named[name] = true
			}
		}
	}
	for name := range named {
		if len(files[name]) == 0 {
			t.Errorf("%s is named and not made", name)
		}
	}
	for name := range files {
		if !named[name] {
			t.Errorf("%s is made and not named", name)
		}
	}
}

// TestServerCertificate checks every name under which kube-apiserver is reached.
func TestServerCertificate(t *testing.T) {
	files := credentialsOf(t, testLab)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files[caCert]) {
		t.Fatal("no authority")
	}
	block, _ := pem.Decode(files[serverCert])
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"127.0.0.1", "192.168.1.10", "fd00:1::10", plan.APIServiceV4, plan.APIServiceV6,
		"kubernetes.default.svc", "localhost",
	} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("certificate is not good for %s: %v", name, err)
		}
	}
}

func credentialsOf(t *testing.T, lab plan.Lab) map[string][]byte {
	t.Helper()
	ca, err := pki.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	files, err := Credentials(lab, ca)
	if err != nil {
		t.Fatal(err)
	}
	for name := range files {
		if filepath.Base(name) != name {
			t.Errorf("%s lies in another directory", name)
		}
	}
	return files
}
