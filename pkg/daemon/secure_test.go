package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes a self-signed certificate for 127.0.0.1 with a serial number, and its key.
func writeCertificate(t *testing.T, o *Options, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, o.TLSCert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, o.TLSKey, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask asks for a path with a token, if that is not empty, and returns the code, the text, and the serial number of the
// certificate that was shown.
func ask(t *testing.T, url, token string) (code int, text string, serial int64) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // self-signed; its number is looked at
	}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.TLS != nil {
		serial = resp.TLS.PeerCertificates[0].SerialNumber.Int64()
	}
	return resp.StatusCode, string(b), serial
}

func TestServeSecurely(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	o := &Options{
		Host: "127.0.0.1", Port: addr.Port,
		TLSCert: filepath.Join(dir, "crt"), TLSKey: filepath.Join(dir, "key"), TokenFile: filepath.Join(dir, "token"),
	}
	writeCertificate(t, o, 1)
	write(t, o.TokenFile, "open sesame\n")
	if err := o.checkSecurity(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Run(t.Context(), o.Serve(Registry(), func() error { return nil })) }()
	waitFor(t, "http://"+addr.String()) // plain HTTP gets an answer too: that this is not for it
	url := "https://" + addr.String()
	for _, tt := range []struct {
		url, token string
		code       int
		text       string
	}{
		{"http://" + addr.String() + "/metrics", "Bearer open sesame", 400, "HTTPS"},
		{url + "/healthz", "", 200, "ok\n"},
		{url + "/readyz", "", 200, "ok\n"},
		{url + "/metrics", "", 401, "metrics need the bearer token"},
		{url + "/metrics", "Bearer open", 401, ""},
		{url + "/metrics", "Basic open sesame", 401, ""},
		{url + "/metrics", "Bearer open sesame", 200, "invar_build_info{"},
		{url + "/metrics", "bearer open sesame", 200, "invar_build_info{"},
	} {
		code, text, _ := ask(t, tt.url, tt.token)
		if code != tt.code || !strings.Contains(text, tt.text) {
			t.Errorf("%s with %q: %d %.60q, want %d %q", tt.url, tt.token, code, text, tt.code, tt.text)
		}
	}

	writeCertificate(t, o, 2)
	write(t, o.TokenFile, "other\n")
	if code, _, serial := ask(t, url+"/metrics", "Bearer other"); code != 200 || serial != 2 {
		t.Errorf("after a change of token and certificate: %d with certificate %d, want 200 with 2", code, serial)
	}
	if err := os.Remove(o.TokenFile); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := ask(t, url+"/metrics", "Bearer other"); code != 503 {
		t.Errorf("without a token to compare with: %d, want 503", code)
	}
}

func TestCheckSecurity(t *testing.T) {
	dir := t.TempDir()
	o := &Options{TLSCert: filepath.Join(dir, "crt"), TLSKey: filepath.Join(dir, "key")}
	writeCertificate(t, o, 1)
	empty := filepath.Join(dir, "empty")
	write(t, empty, "\n")
	for _, tt := range []struct {
		options Options
		want    string
	}{
		{Options{}, ""},
		{*o, ""},
		{Options{TLSCert: o.TLSCert}, "--metrics-tls-cert and --metrics-tls-key are needed together"},
		{Options{TLSCert: o.TLSKey, TLSKey: o.TLSKey}, "failed to find certificate PEM data"},
		{Options{TokenFile: empty}, "--metrics-token-file needs --metrics-tls-cert"},
		{Options{TLSCert: o.TLSCert, TLSKey: o.TLSKey, TokenFile: empty}, "is empty"},
		{Options{TLSCert: o.TLSCert, TLSKey: o.TLSKey, TokenFile: dir + "/none"}, "no such file"},
	} {
		got := ""
		if err := tt.options.checkSecurity(); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%+v: got %q, want %q", tt.options, got, tt.want)
		}
	}
}
