package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestOneHostTakesNotAll has a host keep as many connections as it may: the next one is closed, another host is answered, and a
// place that was left is another's.
func TestOneHostTakesNotAll(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	go srv.Serve(newPerHost(l))
	t.Cleanup(func() { srv.Close() })
	// visit opens a connection, asks on it, and leaves it open.
	visit := func(from string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: node1\r\n\r\n") // fails if it is closed already
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.Contains(line, "200") {
			err = fmt.Errorf("answer %q", line)
		}
		return conn, err
	}
	var first net.Conn
	for n := range maxFromOne {
		conn, err := visit("127.0.0.2")
		if err != nil {
			t.Fatalf("connection %d: %v", n+1, err)
		}
		if first == nil {
			first = conn
		}
	}
	if _, err := visit("127.0.0.2"); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one connection too many: %v, want it closed", err)
	}
	if _, err := visit("127.0.0.3"); err != nil {
		t.Errorf("no place for another host: %v", err)
	}
	first.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err = visit("127.0.0.2"); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("the place that was left is nobody's: %v", err)
	}
}
