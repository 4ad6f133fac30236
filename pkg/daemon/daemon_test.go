package daemon

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestOptions(t *testing.T) {
	env := map[string]string{"METALLB_HOST": "192.168.1.11", "METALLB_NAMESPACE": "metallb-system"}
	defaults := Options{
		Host: "192.168.1.11", Port: 7472, StatePort: 7471, Config: "config", Namespace: "metallb-system", LogLevel: "info",
		SecretName: "memberlist",
	}
	opts := []cmp.Option{cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreUnexported(Options{})}
	tests := []struct {
		name    string
		args    []string
		want    func(o Options) Options
		wantErr string
	}{
		{name: "defaults", want: func(o Options) Options { return o }},
		{
			name: "MetalLB's arguments", args: []string{"--port=7000", "--config=pools", "--log-level=debug"},
			want: func(o Options) Options { o.Port, o.Config, o.LogLevel = 7000, "pools", "debug"; return o },
		},
		{
			name: "where to talk to speakers", args: []string{"--ml-bindaddr=192.168.1.11", "--ml-bindport=7000"},
			want: func(o Options) Options { o.PeerAddr, o.PeerPort = netip.MustParseAddr("192.168.1.11"), 7000; return o },
		},
		{
			name: "bad address", args: []string{"--ml-bindaddr=node1"},
			wantErr: `--ml-bindaddr="node1" (or METALLB_ML_BIND_ADDR): want this pod's IP address`,
		},
		{
			name: "bad port for speakers", args: []string{"--ml-bindport=0"},
			wantErr: `--ml-bindport="0" (or METALLB_ML_BIND_PORT): want 1 to 65535`,
		},
		{name: "bad port", args: []string{"--port=70000"}, wantErr: "--port=70000: want 1 to 65535"},
		{name: "no state", args: []string{"--state-port=0"}, want: func(o Options) Options { o.StatePort = 0; return o }},
		{
			name: "state on the port of metrics", args: []string{"--state-port=7472"},
			wantErr: "--state-port=7472: want 0 (none) or 1 to 65535, and not that of --port",
		},
		{
			name: "bad level", args: []string{"--log-level=loud"},
			wantErr: `--log-level="loud": want all, debug, info, warn, error or none`,
		},
		{name: "no namespace", args: []string{"--namespace="}, wantErr: "--namespace is needed outside a pod (or METALLB_NAMESPACE)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var o Options
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			o.Register(fs, func(k string) string { return env[k] })
			if err := fs.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := o.Check()
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Fatalf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want(defaults), o, opts...); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoggerLevels(t *testing.T) {
	for level, want := range map[string]int{"all": 4, "debug": 4, "info": 3, "warn": 2, "error": 1, "none": 0} {
		var out bytes.Buffer
		logger := (&Options{LogLevel: level}).Logger(&out)
		logger.Debug("d")
		logger.Info("i")
		logger.Warn("w")
		logger.Error("e")
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("level %s: %d lines, want %d", level, got, want)
		}
	}
}

// TestServe runs the endpoint for real, asks each path, and ends it with a signal as Kubernetes would.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	var notReady atomic.Pointer[error]
	reason := errors.New("waiting for the cache")
	notReady.Store(&reason)
	o := Options{Host: "127.0.0.1", Port: port}
	done := make(chan error, 1)
	go func() {
		done <- Run(t.Context(), o.Serve(Registry(), func() error { return *notReady.Load() }))
	}()

	base := "http://127.0.0.1:" + strconv.Itoa(port)
	waitFor(t, base+"/healthz")
	check(t, base+"/healthz", http.StatusOK, "ok\n")
	check(t, base+"/readyz", http.StatusServiceUnavailable, "waiting for the cache\n")
	var ok error
	notReady.Store(&ok)
	check(t, base+"/readyz", http.StatusOK, "ok\n")
	check(t, base+"/metrics", http.StatusOK, "invar_build_info{")

	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run after SIGTERM: %v", err)
	}
}

func TestRunEndsWithItsFirstError(t *testing.T) {
	boom := errors.New("boom")
	err := Run(t.Context(),
		func(context.Context) error { return boom },
		func(ctx context.Context) error { <-ctx.Done(); return nil })
	if !errors.Is(err, boom) {
		t.Errorf("Run = %v, want %v", err, boom)
	}
}

func waitFor(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer within 10 s: %v", url, err)
		}
	}
}

func check(t *testing.T, url string, code int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != code || !strings.Contains(string(b), body) {
		t.Errorf("%s: %d %q, want %d with %q", url, resp.StatusCode, b, code, body)
	}
}

// pipes is a listener whose connections are net.Pipe's, which run on the clock of a bubble.
type pipes struct {
	net.Listener
	conns chan net.Conn
}

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestIdleConnectionsEnd opens connections as any host could that wants to use up memory: each is closed before long.
func TestIdleConnectionsEnd(t *testing.T) {
	tests := []struct{ name, says string }{
		{"nothing", ""},
		{"half a request", "GET /healthz HTTP/1.1\r\n"},
		{"a request and no more", "GET /healthz HTTP/1.1\r\nHost: node1\r\n\r\n"},
		{"a request without its body", "GET /healthz HTTP/1.1\r\nHost: node1\r\nContent-Length: 1000\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pipes{conns: make(chan net.Conn)}
				srv := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
				go srv.Serve(p)
				ours, theirs := net.Pipe()
				p.conns <- theirs
				ended := make(chan time.Time, 1)
				go func() {
					_, _ = io.WriteString(ours, tt.says)
					_, _ = io.Copy(io.Discard, ours)
					ended <- time.Now()
				}()
				begin := time.Now()
				select {
				case at := <-ended:
					t.Logf("closed after %v", at.Sub(begin))
				case <-time.After(time.Hour):
					t.Error("still open after an hour")
					ours.Close()
				}
				close(p.conns)
				srv.Close()
			})
		})
	}
}

// TestSlowReaderEnds asks for something and doesn't take the answer.
func TestSlowReaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipes{conns: make(chan net.Conn)}
		failed := make(chan error, 1)
		srv := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 1<<20))
			failed <- err
		}))
		go srv.Serve(p)
		ours, theirs := net.Pipe()
		p.conns <- theirs
		_, _ = io.WriteString(ours, "GET /metrics HTTP/1.1\r\nHost: node1\r\n\r\n")
		select {
		case err := <-failed:
			if err == nil {
				t.Error("the answer was sent to nobody")
			}
		case <-time.After(time.Hour):
			t.Error("still being sent after an hour")
		}
		ours.Close()
		close(p.conns)
		srv.Close()
	})
}
