package daemon

import (
	"bytes"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
)

// Metrics can be kept from others by TLS and a bearer token (RFC 6750), which Prometheus sends if it is told to. The token is a
// file, such as a mounted Secret, and not one of Kubernetes' that the API server is asked about: that would take rights across
// the cluster (TokenReview, SubjectAccessReview), and metrics would be gone with the API server, when they are needed most.

// checkSecurity reports what is wrong with the flags and files for it.
func (o *Options) checkSecurity() error {
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return errors.New("--metrics-tls-cert and --metrics-tls-key are needed together")
	}
	if o.TokenFile != "" && o.TLSCert == "" {
		return errors.New("--metrics-token-file needs --metrics-tls-cert: without TLS the token can be read on the network")
	}
	if o.TLSCert != "" {
		if _, err := o.certificate(nil); err != nil {
			return err
		}
	}
	if o.TokenFile != "" {
		if _, err := o.token(); err != nil {
			return err
		}
	}
	return nil
}

// tlsConfig returns how to serve metrics and probes by TLS, or nil if not.
func (o *Options) tlsConfig() *tls.Config {
	if o.TLSCert == "" {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.certificate, NextProtos: []string{"http/1.1"}}
}

// certificate reads the certificate anew for each connection, since it is renewed while the daemon runs.
func (o *Options) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("--metrics-tls-cert=%s, --metrics-tls-key=%s: %w", o.TLSCert, o.TLSKey, err)
	}
	return &cert, nil
}

// token reads the token that metrics are given for. It may change while the daemon runs, too.
func (o *Options) token() ([]byte, error) {
	text, err := os.ReadFile(o.TokenFile)
	if err != nil {
		return nil, fmt.Errorf("--metrics-token-file: %w", err)
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil, fmt.Errorf("--metrics-token-file: %s is empty", o.TokenFile)
	}
	return text, nil
}

// guard lets those pass who have the token, if there is one to have.
func (o *Options) guard(h http.Handler) http.Handler {
	if o.TokenFile == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := o.token()
		if err != nil {
			http.Error(w, "the token can't be read now", http.StatusServiceUnavailable)
			return
		}
		scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(got), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "metrics need the bearer token of --metrics-token-file", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
