package daemon

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestState(t *testing.T) {
	h := localOnly(JSON(func(r *http.Request) (any, error) {
		if r.FormValue("fail") != "" {
			return nil, errors.New("not now")
		}
		return map[string]string{"node": "node1"}, nil
	}))
	tests := []struct {
		name, method, url string
		code              int
		body              string
	}{
		{"JSON", "GET", "http://127.0.0.1:7471/state", 200, `{"node":"node1"}` + "\n"},
		{"by name", "GET", "http://localhost/state", 200, `{"node":"node1"}` + "\n"},
		{"IPv6", "GET", "http://[::1]:7471/state", 200, `{"node":"node1"}` + "\n"},
		{"failure", "GET", "http://localhost/state?fail=1", 503, "not now\n"},
		{"write", "POST", "http://localhost/state", 405, "only GET is allowed\n"},
		{"name that leads here", "GET", "http://evil.example/state", 403, "host \"evil.example\" is not this one\n"},
		{"address that is not loopback", "GET", "http://192.168.1.11:7471/state", 403, "host \"192.168.1.11:7471\" is not this one\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.url, nil))
			if w.Code != tt.code || w.Body.String() != tt.body {
				t.Errorf("answer %d %q, want %d %q", w.Code, w.Body, tt.code, tt.body)
			}
		})
	}
}

// TestServeState checks that the state is served on the loopback interface, and that a port which is taken is no error.
func TestServeState(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{StatePort: l.Addr().(*net.TCPAddr).Port}
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if err := o.ServeState(http.NotFoundHandler(), logger)(t.Context()); err != nil || !strings.Contains(log.String(), "in use") {
		t.Errorf("port taken: error %v, log %q; want none, and a line in the log", err, log.String())
	}
	l.Close()
	h := JSON(func(*http.Request) (any, error) { return 1, nil })
	done := make(chan error, 1)
	go func() { done <- Run(t.Context(), o.ServeState(h, slog.New(slog.NewTextHandler(io.Discard, nil)))) }()
	url := "http://" + l.Addr().String()
	waitFor(t, url)
	check(t, url, http.StatusOK, "1\n")
}
