package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// reachWait is how long a pod may take to say what it knows.
const reachWait = 5 * time.Second

// fetch asks a pod for what it serves under path on its loopback interface, and decodes that into answer. It goes through the
// API server's port-forward, so the user needs the right to create pods/portforward in Invar's namespace. No port is opened here.
func (t *tool) fetch(ctx context.Context, client kubernetes.Interface, pod, path string, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, reachWait)
	defer cancel()
	dialer, err := t.dialer(client, pod)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- get(ctx, dialer, t.statePort, path, answer) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer within %s", reachWait)
	}
}

// dialer returns what connects to a pod: over a websocket, or SPDY if the API server is older or a proxy in between.
func (t *tool) dialer(client kubernetes.Interface, pod string) (httpstream.Dialer, error) {
	cfg, err := t.flags.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	cfg = rest.CopyConfig(cfg)
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(t.home).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("set up port-forward: %w", err)
	}
	websocket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, cfg)
	if err != nil {
		return nil, fmt.Errorf("set up port-forward: %w", err)
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	return portforward.NewFallbackDialerForStreaming(websocket, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// get sends one request over a connection of its own.
func get(ctx context.Context, dialer httpstream.Dialer, port int, path string, answer any) error {
	conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return fmt.Errorf("port-forward: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	failure, err := stream(conn, port, corev1.StreamTypeError)
	if err != nil {
		return err
	}
	_ = failure.Close() // nothing is written to it
	data, err := stream(conn, port, corev1.StreamTypeData)
	if err != nil {
		return err
	}
	if err := request(ctx, data, path, answer); err != nil {
		return cause(ctx, failure, err)
	}
	return nil
}

// stream opens one of the two streams of a forwarded connection.
func stream(conn httpstream.Connection, port int, kind string) (httpstream.Stream, error) {
	h := http.Header{}
	h.Set(corev1.StreamType, kind)
	h.Set(corev1.PortHeader, strconv.Itoa(port))
	h.Set(corev1.PortForwardRequestIDHeader, "0")
	s, err := conn.CreateStream(h)
	if err != nil {
		return nil, fmt.Errorf("port-forward: %w", err)
	}
	return s, nil
}

func request(ctx context.Context, data io.ReadWriter, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return err
	}
	req.Close = true
	if err := req.Write(data); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(data), req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// cause returns what the kubelet says of a connection that failed, if it does, else err.
func cause(ctx context.Context, failure io.Reader, err error) error {
	if ctx.Err() != nil {
		return err
	}
	if text, e := io.ReadAll(io.LimitReader(failure, 1<<10)); e == nil && len(text) > 0 {
		return errors.New(strings.TrimSpace(string(text)))
	}
	return err
}
