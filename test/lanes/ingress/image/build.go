package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	muxer "github.com/traefik/traefik/v3/pkg/muxer/http"
	"github.com/traefik/traefik/v3/pkg/provider/kubernetes/ingress"
	"github.com/traefik/traefik/v3/pkg/server/service/loadbalancer/wrr"
)

// build returns the handler for a configuration.
func build(ctx context.Context, c *dynamic.HTTPConfiguration) (http.Handler, error) {
	parser, err := muxer.NewSyntaxParser()
	if err != nil {
		return nil, fmt.Errorf("make parser: %w", err)
	}
	mux := muxer.NewMuxer(parser, []string{ingress.ProviderName})
	for name, r := range c.Routers {
		service, ok := c.Services[r.Service]
		if !ok || service.LoadBalancer == nil {
			return nil, fmt.Errorf("build router %s: no such service %s", name, r.Service)
		}
		h, err := balance(ctx, service.LoadBalancer)
		if err != nil {
			return nil, fmt.Errorf("build service %s: %w", r.Service, err)
		}
		priority := r.Priority
		if priority == 0 {
			priority = muxer.GetRulePriority(r.Rule)
		}
		if err := mux.AddRoute(r.Rule, r.RuleSyntax, priority, ingress.ProviderName, h); err != nil {
			return nil, fmt.Errorf("build router %s: %w", name, err)
		}
	}
	return mux, nil
}

// balance returns a handler that gives the servers their turns.
func balance(ctx context.Context, lb *dynamic.ServersLoadBalancer) (http.Handler, error) {
	b := wrr.New(lb.Sticky, false)
	for _, server := range lb.Servers {
		target, err := url.Parse(server.URL)
		if err != nil {
			return nil, fmt.Errorf("parse server: %w", err)
		}
		b.AddServer(server.URL, proxy(target), server)
		b.SetStatus(ctx, server.URL, true)
	}
	return b, nil
}

// proxy returns a handler that asks the target as the client did, and tells it who that was in X-Forwarded-For. What the
// client says there itself does not count.
func proxy(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
}
