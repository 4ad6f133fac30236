package main

import (
	"net/http/httptest"
	"testing"
)

func TestHandler(t *testing.T) {
	t.Setenv("POD_NAME", "echo-1")
	t.Setenv("NODE_NAME", "node2")
	r := httptest.NewRequest("GET", "/anything", nil)
	r.RemoteAddr = "192.168.1.100:40312"
	w := httptest.NewRecorder()
	handler().ServeHTTP(w, r)
	want := "pod echo-1 node node2 client 192.168.1.100:40312\n"
	if got := w.Body.String(); w.Code != 200 || got != want {
		t.Errorf("answer %d %q, want 200 %q", w.Code, got, want)
	}
}
