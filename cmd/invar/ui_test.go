package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"github.com/invar-lb/invar/pkg/explain"
)

// clusterOf is an API server that knows pods and forwards to them, over SPDY as the real one does. Each pod serves HTTP.
type clusterOf struct {
	mu    sync.Mutex
	pods  map[string]http.Handler
	conns map[string][]httpstream.Connection // by pod
}

func (c *clusterOf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const pods = "/api/v1/namespaces/metallb-system/pods"
	name := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, pods+"/"), "/portforward")
	c.mu.Lock()
	h := c.pods[name]
	c.mu.Unlock()
	switch {
	case r.URL.Path == pods:
		c.list(w)
	case h == nil:
		http.NotFound(w, r)
	case r.Header.Get("Upgrade") == "websocket":
		http.Error(w, "not here", http.StatusBadRequest)
	default:
		c.forward(w, r, name, h)
	}
}

func (c *clusterOf) list(w http.ResponseWriter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for name := range c.pods {
		labels := map[string]string{"app": "metallb", "component": "controller"}
		list.Items = append(list.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// forward joins each stream of data to h.
func (c *clusterOf) forward(w http.ResponseWriter, r *http.Request, pod string, h http.Handler) {
	if _, err := httpstream.Handshake(r, w, []string{portforward.PortForwardProtocolV1Name}); err != nil {
		return
	}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, accepted <-chan struct{}) error {
		go func() {
			<-accepted
			if s.Headers().Get(corev1.StreamType) == corev1.StreamTypeData {
				l.join(s)
			}
			_ = s.Close()
		}()
		return nil
	})
	if conn == nil {
		return
	}
	c.mu.Lock()
	c.conns[pod] = append(c.conns[pod], conn)
	c.mu.Unlock()
	go func() { _ = http.Serve(l, h) }()
	<-conn.CloseChan()
	close(l.closed)
}

// kill takes a pod away, and its connections with it.
func (c *clusterOf) kill(pod string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pods, pod)
	for _, conn := range c.conns[pod] {
		_ = conn.Close()
	}
}

func (c *clusterOf) add(pod string, h http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods[pod] = h
}

// pipeListener accepts the ends of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

// join joins a stream to a connection that the listener accepts.
func (l *pipeListener) join(s httpstream.Stream) {
	near, far := net.Pipe()
	defer near.Close()
	select {
	case l.conns <- far:
	case <-l.closed:
		return
	}
	go func() { _, _ = io.Copy(near, s) }()
	_, _ = io.Copy(s, near)
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// controllerPod serves a state, and a page that names the pod.
func controllerPod(name string, leading bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+explain.StatePath, func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(explain.ControllerState{Identity: name, Leading: leading})
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page of "+name) })
	return mux
}

// kubeconfig writes one for an API server and returns its path.
func kubeconfig(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}],
		clusters: [{name: c, cluster: {server: "` + url + `"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// syncBuffer is what a command that runs has printed.
type syncBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.String()
}

// TestUI asks for the page through the tool, kills the controller behind it, and finds the next one's at the same place.
func TestUI(t *testing.T) {
	cluster := &clusterOf{
		pods:  map[string]http.Handler{"c-1": controllerPod("c-1", true), "c-2": controllerPod("c-2", false)},
		conns: map[string][]httpstream.Connection{},
	}
	server := httptest.NewServer(cluster)
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut syncBuffer
	code := make(chan int, 1)
	go func() {
		args := []string{"invar", "ui", "--no-browser", "--kubeconfig", kubeconfig(t, server.URL)}
		code <- run(ctx, genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}, args)
	}()

	var place []string
	eventually(t, func() bool {
		place = regexp.MustCompile(`(http://127\.0\.0\.1:\d+/) shows c-1; Ctrl-C ends it`).FindStringSubmatch(out.String())
		return place != nil
	}, &errOut)
	page := func() string {
		resp, err := http.Get(place[1])
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	if got := page(); got != "page of c-1" {
		t.Fatalf("got %q", got)
	}
	cluster.add("c-2", controllerPod("c-2", true))
	cluster.kill("c-1")
	eventually(t, func() bool { return page() == "page of c-2" }, &errOut)

	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d, want %d: %s", got, exitOK, &errOut)
	}
}

func TestUIWithoutLeader(t *testing.T) {
	cluster := &clusterOf{
		pods: map[string]http.Handler{"c-1": controllerPod("c-1", false)}, conns: map[string][]httpstream.Connection{},
	}
	server := httptest.NewServer(cluster)
	defer server.Close()
	streams, _, _, errOut := genericiooptions.NewTestIOStreams()
	code := run(t.Context(), streams, []string{"invar", "ui", "--no-browser", "--kubeconfig", kubeconfig(t, server.URL)})
	if want := "error: no controller leads: c-1 stands by\n"; code != exitFailed || errOut.String() != want {
		t.Errorf("exit code %d, %q; want %d, %q", code, errOut, exitFailed, want)
	}
}

// eventually waits until f holds, for twenty seconds at most.
func eventually(t *testing.T, f func() bool, errOut *syncBuffer) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come to hold; stderr:\n%s", errOut)
		}
	}
}
