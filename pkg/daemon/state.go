package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
)

// stateHost is where the state is served: whoever wants it goes through the API server's port-forward, and so needs the right to.
const stateHost = "127.0.0.1"

// defaultStatePort is explain.StatePort, where the user's tool looks.
const defaultStatePort = 7471

// ServeState returns the task that serves h on [Options.StatePort] of the loopback interface, or does nothing if that is 0.
// A daemon works as well without it, so that a port which is taken is told and no error.
func (o *Options) ServeState(h http.Handler, logger *slog.Logger) Task {
	return func(ctx context.Context) error {
		if o.StatePort == 0 {
			return nil
		}
		err := serveHTTP(ctx, "the state", net.JoinHostPort(stateHost, strconv.Itoa(o.StatePort)), localOnly(h), nil)
		if err != nil {
			logger.Error("state can't be asked for; see --state-port", "err", err)
		}
		return nil
	}
}

// JSON returns the handler that answers with what get returns.
func JSON(get func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := get(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(answer) // fails if the client is gone
	})
}

// localOnly lets only questions pass that read and that are put to the loopback interface by name: a page of another origin
// whose name was made to lead to it (DNS rebinding) learns nothing.
func localOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET is allowed", http.StatusMethodNotAllowed)
		case !isLoopback(r.Host):
			http.Error(w, fmt.Sprintf("host %q is not this one", r.Host), http.StatusForbidden)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// isLoopback reports whether the Host of a request names the loopback interface.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
