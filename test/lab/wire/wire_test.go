package wire

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/lab/command"
	"github.com/invar-lb/invar/test/lab/labtest"
	"github.com/invar-lb/invar/test/lab/plan"
)

// lay lays the cables of a small lab of the test's own.
func lay(t *testing.T) plan.Lab {
	t.Helper()
	labtest.RequireRoot(t)
	lab := plan.Lab{Name: fmt.Sprintf("w%d", os.Getpid()), Nodes: 2}
	t.Cleanup(func() {
		for range 2 { // there is nothing to remove the second time
			if err := Remove(lab); err != nil {
				t.Error(err)
			}
		}
		if left := namespaces(t, lab); len(left) > 0 {
			t.Errorf("left after Remove: %v", left)
		}
		if Laid(lab) {
			t.Error("Laid after Remove")
		}
	})
	if err := Lay(t.Context(), lab); err != nil {
		t.Fatal(err)
	}
	return lab
}

func namespaces(t *testing.T, lab plan.Lab) []string {
	t.Helper()
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), lab.Name+"-") {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestLAN lays cables and sends through them, while they are in and while they are not.
func TestLAN(t *testing.T) {
	lab := lay(t)
	if !Laid(lab) {
		t.Error("not Laid after Lay")
	}
	if got, want := len(namespaces(t, lab)), len(lab.Hosts())+1; got != want {
		t.Errorf("%d namespaces, want %d", got, want)
	}
	node := lab.NodeHosts()[1]
	targets := []string{listenIn(t, node, node.IPv4), listenIn(t, node, node.IPv6)}
	checkReach(t, lab, targets, true, lab.Outside())
	if err := Cut(t.Context(), lab, node); err != nil {
		t.Fatal(err)
	}
	checkPort(t, lab, node, Port{Cut: true})
	checkReach(t, lab, targets, false, lab.Outside())
	if err := Heal(t.Context(), lab, node); err != nil {
		t.Fatal(err)
	}
	checkReach(t, lab, targets, true, lab.Outside())
	checkPort(t, lab, node, Port{})
}

// TestPartition splits the LAN, in two ways, and makes it whole again.
func TestPartition(t *testing.T) {
	lab := lay(t)
	node := lab.NodeHosts()[1]
	targets := []string{listenIn(t, node, node.IPv4), listenIn(t, node, node.IPv6)}
	for _, apart := range [][]plan.Host{{node, lab.ControlPlane()}, {lab.ControlPlane(), lab.Client(), lab.NodeHosts()[0]}} {
		if err := Partition(t.Context(), lab, apart); err != nil {
			t.Fatal(err)
		}
		checkPort(t, lab, node, Port{Apart: apart[0].Name == node.Name})
		checkReach(t, lab, targets, false)
	}
	if err := Partition(t.Context(), lab, []plan.Host{node, lab.Client(), lab.NodeHosts()[0]}); err != nil {
		t.Fatal(err)
	}
	checkReach(t, lab, targets, true)
	for range 2 { // there is nothing to undo the second time
		if err := Unite(t.Context(), lab); err != nil {
			t.Fatal(err)
		}
	}
	checkPort(t, lab, node, Port{})
	checkReach(t, lab, targets, true)
}

func checkPort(t *testing.T, lab plan.Lab, h plan.Host, want Port) {
	t.Helper()
	if got, err := PortOf(t.Context(), lab, h); got != want || err != nil {
		t.Errorf("port of %s: %+v, %v, want %+v", h.Name, got, err, want)
	}
}

// checkReach dials from the client, from another node, and from more hosts.
func checkReach(t *testing.T, lab plan.Lab, targets []string, want bool, more ...plan.Host) {
	t.Helper()
	for _, from := range append([]plan.Host{lab.Client(), lab.NodeHosts()[0]}, more...) {
		for _, target := range targets {
			err := dialIn(t.Context(), from, target, want)
			if (err == nil) != want {
				t.Errorf("dial %s from %s: %v, want success %t", target, from.Name, err, want)
			}
		}
	}
}

// dialIn dials from a host. Where no success is expected it is not waited for long.
func dialIn(ctx context.Context, from plan.Host, target string, patient bool) error {
	dialer := net.Dialer{Timeout: 200 * time.Millisecond}
	if patient {
		dialer.Timeout = 10 * time.Second
	}
	return Do(plan.NetnsPath(from.Netns), func() error {
		conn, err := dialer.DialContext(ctx, "tcp", target)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

// listenIn accepts connections on a host until the test ends, and returns where.
func listenIn(t *testing.T, h plan.Host, addr netip.Addr) string {
	t.Helper()
	var l net.Listener
	err := Do(plan.NetnsPath(h.Netns), func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// TestForwardIntoNamespace reaches a server on a host's loopback interface from the test's own.
func TestForwardIntoNamespace(t *testing.T) {
	lab := lay(t)
	path := plan.NetnsPath(lab.ControlPlane().Netns)
	var server net.Listener
	err := Do(path, func() (err error) {
		server, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	serveOne(t, server, func(conn net.Conn) error {
		_, err := io.WriteString(conn, "hello")
		return err
	})
	l := listen(t)
	done := make(chan error, 1)
	go func() { done <- Forward(t.Context(), l, path, server.Addr().String()) }()
	got, err := io.ReadAll(dialTo(t, l.Addr().String()))
	if err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v, want hello", got, err)
	}
	l.Close()
	if err := <-done; err != nil {
		t.Errorf("Forward: %v", err)
	}
}

// TestRemoveHalfMade removes what a Lay that was interrupted may leave.
func TestRemoveHalfMade(t *testing.T) {
	labtest.RequireRoot(t)
	lab := plan.Lab{Name: fmt.Sprintf("h%d", os.Getpid()), Nodes: 1}
	if err := command.Run(t.Context(), "", "ip", "netns", "add", lab.SwitchNetns()); err != nil {
		t.Fatal(err)
	}
	file := plan.NetnsPath(lab.NodeHosts()[0].Netns) // `ip netns add` makes the file first and mounts on it then
	if err := os.WriteFile(file, nil, 0o400); err != nil {
		t.Fatal(err)
	}
	if Laid(lab) {
		t.Error("half of a lab: Laid")
	}
	if err := Remove(lab); err != nil {
		t.Error(err)
	}
	if left := namespaces(t, lab); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
