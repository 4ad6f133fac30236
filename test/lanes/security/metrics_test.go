//go:build e2e

package security

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// serverName is what the certificate is for: the pods' addresses change, so whoever scrapes them is told this name.
const serverName = "metrics.invar.example"

// secured is what README says to turn TLS and the token on with, as a patch of either workload, whose name is put in.
const secured = `
spec:
  template:
    spec:
      containers:
      - name: %[1]s
        args: [--port=7472, --config=config, --log-level=info, %[2]s--metrics-tls-cert=/metrics/tls.crt, --metrics-tls-key=/metrics/tls.key,
          --metrics-token-file=/metrics/token]
        livenessProbe: {httpGet: {scheme: HTTPS}}
        readinessProbe: {httpGet: {scheme: HTTPS}}
        volumeMounts:
        - {name: metrics, mountPath: /metrics, readOnly: true}
      volumes:
      - name: metrics
        secret: {secretName: metrics}
`

// TestSecuredMetrics turns on TLS and the token as README says, and asks for metrics with and without what it takes. Then both are
// replaced, and the pods follow without a restart.
func TestSecuredMetrics(t *testing.T) {
	ours, others := newAuthority(t), newAuthority(t)
	writeSecret(t, ours.sign(t, 1), "first")
	secure(t)
	for _, s := range servers(t) {
		t.Run(s.name, func(t *testing.T) {
			for _, tt := range []struct {
				what, token string
				trust       *authority
				want        string
			}{
				{"the token", "first", ours, "200 by certificate 1"},
				{"no token", "", ours, "401 by certificate 1"},
				{"another token", "second", ours, "401 by certificate 1"},
				{"another authority trusted", "first", others, "certificate not trusted"},
				{"no TLS", "first", nil, "400 in the clear"},
			} {
				if got := scrape(t, s.addr, tt.token, tt.trust); got != tt.want {
					t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
				}
			}
		})
	}
	before := restarts(t)
	writeSecret(t, ours.sign(t, 2), "second")
	nudge(t)
	for _, s := range servers(t) {
		clustertest.Eventually(t, s.name+" follows the Secret", func(context.Context) error {
			now, old := scrape(t, s.addr, "second", ours), scrape(t, s.addr, "first", ours)
			if now != "200 by certificate 2" || old != "401 by certificate 2" {
				return fmt.Errorf("with the new token %s, with the old one %s", now, old)
			}
			return nil
		})
	}
	if after := restarts(t); after != before {
		t.Errorf("the pods were started again: %s, before %s", after, before)
	}
}

// secure applies the patch for the time of the test.
func secure(t *testing.T) {
	t.Helper()
	ctx, apps := context.WithoutCancel(t.Context()), lab.Kube.AppsV1()
	ready := func() {
		for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
			if err := lab.Rollout(ctx, cluster.Namespace, what); err != nil {
				t.Fatal(err)
			}
		}
	}
	deployment, err := apps.Deployments(cluster.Namespace).Get(ctx, "controller", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	daemons, err := apps.DaemonSets(cluster.Namespace).Get(ctx, "speaker", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		clustertest.Eventually(t, "put the workloads back", func(ctx context.Context) error {
			d, err1 := apps.Deployments(cluster.Namespace).Get(ctx, "controller", metav1.GetOptions{})
			s, err2 := apps.DaemonSets(cluster.Namespace).Get(ctx, "speaker", metav1.GetOptions{})
			if err := errors.Join(err1, err2); err != nil {
				return err
			}
			d.Spec, s.Spec = deployment.Spec, daemons.Spec
			_, err1 = apps.Deployments(cluster.Namespace).Update(ctx, d, metav1.UpdateOptions{})
			_, err2 = apps.DaemonSets(cluster.Namespace).Update(ctx, s, metav1.UpdateOptions{})
			return errors.Join(err1, err2)
		})
		ready()
	})
	for what, patch := range map[string]string{
		"deployment/controller": fmt.Sprintf(secured, "controller", ""),
		"daemonset/speaker":     fmt.Sprintf(secured, "speaker", "--state-dir=/var/lib/invar, "),
	} {
		if _, err := lab.Kubectl(ctx, "-n", cluster.Namespace, "patch", what, "-p", patch); err != nil {
			t.Fatal(err)
		}
	}
	ready()
}

// server is one place where metrics are served.
type server struct {
	name string
	addr netip.AddrPort
}

// servers returns those of all pods that are not on their way out.
func servers(t *testing.T) (all []server) {
	t.Helper()
	for _, p := range pods(t) {
		all = append(all, server{p.Labels["component"] + " on " + p.Spec.NodeName, netip.AddrPortFrom(netip.MustParseAddr(p.Status.PodIP), 7472)})
	}
	return all
}

// pods returns Invar's pods that are not on their way out.
func pods(t *testing.T) (all []corev1.Pod) {
	t.Helper()
	list, err := lab.Kube.CoreV1().Pods(cluster.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=metallb"})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			all = append(all, p)
		}
	}
	if want := 1 + len(lab.Nodes()); len(all) != want {
		t.Fatalf("%d pods, want %d", len(all), want)
	}
	return all
}

// restarts tells pods and containers apart.
func restarts(t *testing.T) string {
	t.Helper()
	var out []string
	for _, p := range pods(t) {
		out = append(out, fmt.Sprintf("%s %d", p.Name, p.Status.ContainerStatuses[0].RestartCount))
	}
	return strings.Join(out, ", ")
}

// nudge makes the kubelets look at the pods, and with them at the Secret, at once. By themselves they do within 90 s or so.
func nudge(t *testing.T) {
	t.Helper()
	text := fmt.Appendf(nil, `{"metadata":{"annotations":{"nudged":%q}}}`, time.Now())
	for _, p := range pods(t) {
		_, err := lab.Kube.CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.MergePatchType, text, metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// scrape asks for metrics from a node of the cluster, as Prometheus would, by TLS if there is an authority to trust. It returns
// what came of it.
func scrape(t *testing.T, addr netip.AddrPort, token string, trust *authority) string {
	t.Helper()
	url, transport := "http://"+addr.String()+"/metrics", &http.Transport{DisableKeepAlives: true}
	transport.DialContext = func(context.Context, string, string) (conn net.Conn, err error) {
		err = lab.Do(lab.Nodes()[0].Name, func() (err error) {
			conn, err = net.DialTimeout("tcp", addr.String(), 5*time.Second)
			return err
		})
		return conn, err
	}
	if trust != nil {
		url, transport.TLSClientConfig = "https://"+addr.String()+"/metrics", &tls.Config{RootCAs: trust.pool, ServerName: serverName}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: transport, Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &untrusted):
		return "certificate not trusted"
	case err != nil:
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	if given := strings.Contains(string(body), "invar_build_info"); given != (resp.StatusCode == http.StatusOK) {
		t.Errorf("%s answers %d, metrics given: %t", addr, resp.StatusCode, given)
	}
	if resp.TLS == nil {
		return fmt.Sprintf("%d in the clear", resp.StatusCode)
	}
	return fmt.Sprintf("%d by certificate %d", resp.StatusCode, resp.TLS.PeerCertificates[0].SerialNumber)
}

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{key: newKey(t), pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "lab"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign returns certificate and key of the server as they are in a Secret.
func (a *authority) sign(t *testing.T, serial int64) map[string][]byte {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{serverName}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// writeSecret writes certificate, key and token, for the time of the test.
func writeSecret(t *testing.T, data map[string][]byte, token string) {
	t.Helper()
	secrets := lab.Kube.CoreV1().Secrets(cluster.Namespace)
	data["token"] = []byte(token)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "metrics"}, Data: data}
	_, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{})
	if err == nil {
		return
	}
	if _, err = secrets.Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := secrets.Delete(context.WithoutCancel(t.Context()), "metrics", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}
