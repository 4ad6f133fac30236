// Command echo answers every HTTP request on :8080 with one line that says who answered whom:
//
//	pod echo-5d8f node node2 client 192.168.1.100:40312
//
// To that it adds " forwarded" and the request's X-Forwarded-For, if a proxy has set that.
//
// It takes its names from the environment (POD_NAME, NODE_NAME: the downward API). On SIGTERM it finishes the
// requests it has and ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	address = ":8080"
	grace   = 10 * time.Second // for requests that are being answered on SIGTERM
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: address, Handler: handler(), ReadHeaderTimeout: grace}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		slog.Error("cannot listen", "address", address, "error", err)
		return 1
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		slog.Error("cannot finish requests", "error", err)
		return 1
	}
	return 0
}

func handler() http.Handler {
	pod, node := os.Getenv("POD_NAME"), os.Getenv("NODE_NAME")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		forwarded := ""
		if by := r.Header.Values("X-Forwarded-For"); len(by) > 0 {
			forwarded = " forwarded " + strings.Join(by, ", ")
		}
		fmt.Fprintf(w, "pod %s node %s client %s%s\n", pod, node, r.RemoteAddr, forwarded)
	})
}
