package main

import (
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	t.Setenv("POD_NAME", "echo-1")
	t.Setenv("NODE_NAME", "node2")
	const plain = "pod echo-1 node node2 client 192.168.1.100:40312"
	for _, tt := range []struct {
		forwarded []string
		want      string
	}{
		{nil, plain + "\n"},
		{[]string{"192.0.2.7", "192.0.2.8"}, plain + " forwarded 192.0.2.7, 192.0.2.8\n"},
	} {
		r := httptest.NewRequest("GET", "/anything", nil)
		r.RemoteAddr = "192.168.1.100:40312"
		for _, by := range tt.forwarded {
			r.Header.Add("X-Forwarded-For", by)
		}
		w := httptest.NewRecorder()
		handler().ServeHTTP(w, r)
		if got := w.Body.String(); w.Code != 200 || got != tt.want {
			t.Errorf("forwarded by %q: answer %d %q, want 200 %q", tt.forwarded, w.Code, got, tt.want)
		}
	}
}
