package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Do runs f on a thread inside the network of a host. Sockets that f opens and commands that it starts belong to that
// host; goroutines that it starts do not.
func (c *Cluster) Do(host string, f func() error) error {
	h, err := c.Host(host)
	if err != nil {
		return err
	}
	return inNetwork(h.NetNS, f)
}

// DoAsProcess is Do in the network of a process, a pod's for example.
func DoAsProcess(pid int, f func() error) error { return inNetwork(procFile(pid, "ns/net"), f) }

func inNetwork(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- enter(path, f)
	}()
	return <-done
}

func enter(path string, f func() error) error {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", path, err)
	}
	return f()
}

// Run runs a command inside the network of a host and returns what it printed.
func (c *Cluster) Run(ctx context.Context, host, name string, args ...string) (string, error) {
	var out []byte
	err := c.Do(host, func() (err error) {
		out, err = exec.CommandContext(ctx, name, args...).CombinedOutput()
		return err
	})
	if err != nil {
		err = fmt.Errorf("%s: %s %s: %w: %s", host, name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// answerWait is how long a question on the LAN waits for answers.
const answerWait = 300 * time.Millisecond

// Answers asks the LAN for the MAC of an address, by ARP or NDP as a host that has never heard of it would, and returns
// every MAC that answers.
func (c *Cluster) Answers(ctx context.Context, host string, addr netip.Addr) ([]string, error) {
	if addr.Is6() {
		return c.solicit(ctx, host, addr)
	}
	h, err := c.Host(host)
	if err != nil {
		return nil, err
	}
	var conn *packet.Conn
	var ifi *net.Interface
	err = c.Do(host, func() (err error) {
		if ifi, err = net.InterfaceByName("eth0"); err != nil {
			return err
		}
		conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ARP, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", host, err)
	}
	defer conn.Close()
	if err := ask(conn, ifi, h.IPv4, addr); err != nil {
		return nil, err
	}
	return answers(conn, addr)
}

// ask broadcasts an ARP request.
func ask(conn *packet.Conn, ifi *net.Interface, from, addr netip.Addr) error {
	unknown := net.HardwareAddr{0, 0, 0, 0, 0, 0}
	req, err := arp.NewPacket(arp.OperationRequest, ifi.HardwareAddr, from, unknown, addr)
	if err != nil {
		return err
	}
	payload, err := req.MarshalBinary()
	if err != nil {
		return err
	}
	frame, err := (&ethernet.Frame{
		Destination: ethernet.Broadcast, Source: ifi.HardwareAddr, EtherType: ethernet.EtherTypeARP, Payload: payload,
	}).MarshalBinary()
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(frame, &packet.Addr{HardwareAddr: ethernet.Broadcast})
	return err
}

// answers collects the MACs in ARP replies about addr.
func answers(conn *packet.Conn, addr netip.Addr) ([]string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(answerWait)); err != nil {
		return nil, err
	}
	var macs []string
	for buf := make([]byte, 2048); ; {
		n, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return macs, nil
		}
		if err != nil {
			return nil, err
		}
		var frame ethernet.Frame
		var reply arp.Packet
		if frame.UnmarshalBinary(buf[:n]) != nil || reply.UnmarshalBinary(frame.Payload) != nil {
			continue
		}
		if mac := reply.SenderHardwareAddr.String(); reply.SenderIP == addr && !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
}

// solicit asks by NDP.
func (c *Cluster) solicit(ctx context.Context, host string, addr netip.Addr) ([]string, error) {
	wait := strconv.FormatInt(answerWait.Milliseconds(), 10)
	out, err := c.Run(ctx, host, "ndisc6", "-q", "-m", "-r", "1", "-w", wait, addr.String(), "eth0")
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil, nil // it says so if nobody answers
	}
	var macs []string
	for line := range strings.Lines(out) {
		hw, err := net.ParseMAC(strings.TrimSpace(line))
		if err != nil {
			return nil, fmt.Errorf("ndisc6 printed %q: %w", out, err)
		}
		macs = append(macs, hw.String())
	}
	slices.Sort(macs)
	return slices.Compact(macs), err
}

// Holder returns the name of the one node that answers for an address; it is an error if several do.
func (c *Cluster) Holder(ctx context.Context, addr netip.Addr) (string, error) {
	macs, err := c.Answers(ctx, Client, addr)
	if err != nil {
		return "", err
	}
	if len(macs) != 1 {
		return "", fmt.Errorf("%s is answered by %d MACs %v, want one", addr, len(macs), macs)
	}
	for _, h := range c.hosts {
		if h.MAC == macs[0] {
			return h.Name, nil
		}
	}
	return "", fmt.Errorf("%s is answered by %s, which is no host of the lab", addr, macs[0])
}

// Get makes an HTTP request from a host on a connection of its own.
func (c *Cluster) Get(ctx context.Context, host string, addr netip.AddrPort) (code int, body string, err error) {
	return c.GetSite(ctx, host, addr, addr.String())
}

// GetSite is Get for one of the sites, by its name, that are served at an address.
func (c *Cluster) GetSite(ctx context.Context, host string, addr netip.AddrPort, site string) (code int, body string, err error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, _, _ string) (net.Conn, error) {
			return c.dial(host, addr, time.Second)
		},
	}, Timeout: 3 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+site+"/", nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func (c *Cluster) dial(host string, addr netip.AddrPort, timeout time.Duration) (conn net.Conn, err error) {
	err = c.Do(host, func() (err error) {
		conn, err = net.DialTimeout("tcp", addr.String(), timeout)
		return err
	})
	return conn, err
}
