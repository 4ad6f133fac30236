package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// listen listens on the loopback interface until the test ends.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveOne answers the first connection and hands the error to the test.
func serveOne(t *testing.T, l net.Listener, answer func(net.Conn) error) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = answer(conn)
			conn.Close()
		}
		done <- err
	}()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
}

// startForward forwards to target until the test ends, and returns where.
func startForward(t *testing.T, dial func() (net.Conn, error)) string {
	t.Helper()
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- forward(l, dial) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("forward: %v", err)
		}
	})
	return l.Addr().String()
}

func dialTo(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// TestForward has the server answer only after the client has closed its half, as a request's end may be marked.
func TestForward(t *testing.T) {
	server := listen(t)
	addr := startForward(t, func() (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) })
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	serveOne(t, server, func(conn net.Conn) error {
		got, err := io.ReadAll(conn)
		if err == nil {
			_, err = conn.Write(got)
		}
		return err
	})
	conn := dialTo(t, addr)
	if _, err := conn.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes back, %v, want the %d sent", len(got), err, len(data))
	}
}

// TestForwardMany checks that a connection on which nothing happens holds up no other.
func TestForwardMany(t *testing.T) {
	server := listen(t)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	addr := startForward(t, func() (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) })
	dialTo(t, addr) // silent
	var clients sync.WaitGroup
	for i := range 20 {
		conn := dialTo(t, addr)
		clients.Go(func() {
			answer := make([]byte, 1)
			_, writeErr := conn.Write([]byte{byte(i)})
			_, readErr := io.ReadFull(conn, answer)
			if err := errors.Join(writeErr, readErr); err != nil || answer[0] != byte(i) {
				t.Errorf("client %d: %v, %v", i, answer, err)
			}
		})
	}
	clients.Wait()
}

func TestForwardToNothing(t *testing.T) {
	addr := startForward(t, func() (net.Conn, error) { return nil, errors.New("nobody is there") })
	for range 2 { // the forwarder goes on
		if n, err := dialTo(t, addr).Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read %d bytes, %v, want the connection closed", n, err)
		}
	}
}
