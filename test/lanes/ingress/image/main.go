// Command ingress is an ingress controller made of Traefik's parts: its Kubernetes provider, its rules and its balancer, in
// front of Go's reverse proxy. Traefik whole needs the SDKs of dozens of DNS services, of which some can't be had as modules.
//
// It serves HTTP for the Ingresses of class traefik on :8000, and 200 on :8001 once Ingresses have been read. PUBLISHED_SERVICE
// (namespace/name) is the Service whose addresses the Ingresses' status gets.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/middlewares/requestdecorator"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/ingress"
	"github.com/traefik/traefik/v3/pkg/safe"
)

const (
	address, health = ":8000", ":8001"
	grace           = 10 * time.Second // for requests that are being answered on SIGTERM
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		slog.Error("ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	front := new(front)
	decorator := requestdecorator.New(nil) // gives the rules the host name
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { decorator.ServeHTTP(w, r, front.ServeHTTP) })
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	go front.follow(ctx, fail)
	servers := []*http.Server{
		{Addr: address, Handler: serve, ReadHeaderTimeout: grace}, {Addr: health, Handler: http.HandlerFunc(front.ready), ReadHeaderTimeout: grace},
	}
	for _, s := range servers {
		go func() { fail(s.ListenAndServe()) }()
	}
	<-ctx.Done()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) { // a signal
		err = nil
	}
	end, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(end))
	}
	return err
}

// front answers by the last configuration that the provider gave.
type front struct {
	handler atomic.Pointer[http.Handler]
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := f.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "no Ingress has been read yet", http.StatusServiceUnavailable)
}

func (f *front) ready(w http.ResponseWriter, _ *http.Request) {
	if f.handler.Load() == nil {
		http.Error(w, "no Ingress has been read yet", http.StatusServiceUnavailable)
	}
}

// follow builds a handler for each configuration until ctx ends.
func (f *front) follow(ctx context.Context, fail context.CancelCauseFunc) {
	messages := make(chan dynamic.Message)
	provider := &ingress.Provider{IngressEndpoint: &ingress.EndpointIngress{PublishedService: os.Getenv("PUBLISHED_SERVICE")}}
	if err := provider.Provide(messages, safe.NewPool(ctx)); err != nil {
		fail(fmt.Errorf("start provider: %w", err))
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-messages:
			h, err := build(ctx, m.Configuration.HTTP)
			if err != nil {
				slog.Error("configuration left out", "error", err)
				continue
			}
			f.handler.Store(&h)
			slog.Info("configured", "routers", len(m.Configuration.HTTP.Routers), "services", len(m.Configuration.HTTP.Services))
		}
	}
}
