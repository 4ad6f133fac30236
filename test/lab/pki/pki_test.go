package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/invar-lb/invar/test/lab/pki"
)

func newAuthority(t *testing.T) (*pki.Authority, pki.Pair) {
	t.Helper()
	ca, err := pki.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Pair()
	if err != nil {
		t.Fatal(err)
	}
	return ca, pair
}

func TestSign(t *testing.T) {
	ca, own := newAuthority(t)
	_, stranger := newAuthority(t)
	pair, err := ca.Sign(pki.Subject{User: "system:node:node1", Groups: []string{"system:nodes"}, Names: []string{"node1"}})
	if err != nil {
		t.Fatal(err)
	}
	both, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatalf("certificate and key do not fit: %v", err)
	}
	name := both.Leaf.Subject
	if diff := cmp.Diff([]string{"system:node:node1", "system:nodes"}, append([]string{name.CommonName}, name.Organization...)); diff != "" {
		t.Errorf("user and groups (-want +got):\n%s", diff)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		for _, tt := range []struct {
			what  string
			roots []byte
			host  string
			ok    bool
		}{
			{"its authority", own.Cert, "node1", true},
			{"another authority", stranger.Cert, "node1", false},
			{"another host", own.Cert, "node2", false},
		} {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(tt.roots)
			opts := x509.VerifyOptions{Roots: roots, DNSName: tt.host, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := both.Leaf.Verify(opts); (err == nil) != tt.ok {
				t.Errorf("%s, usage %v: %v, want success %t", tt.what, usage, err, tt.ok)
			}
		}
	}
}

// TestKubeconfig reads a kubeconfig as every Kubernetes client does.
func TestKubeconfig(t *testing.T) {
	ca, own := newAuthority(t)
	pair, err := ca.Sign(pki.Subject{User: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(pki.Kubeconfig("https://127.0.0.1:1234", own.Cert, pair))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{config.Host, string(config.CAData), string(config.CertData), string(config.KeyData)}
	want := []string{"https://127.0.0.1:1234", string(own.Cert), string(pair.Cert), string(pair.Key)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}
