package ipvs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/pkg/doctor"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/test/netns"
)

func TestMain(m *testing.M) { netns.Main(m) }

// patience bounds how long a test waits for what has to come.
const patience = 15 * time.Second

// vip is the Service's address. Its port 80 leads to port 8080 of the node that took the packet in.
const vip = "192.168.1.160"

// node is one that kube-proxy runs on.
type node struct {
	name string
	ip   string
	link string // on the LAN
	// do calls f in the node's namespace.
	do func(f func() error)
}

// site is a LAN with two nodes and a client.
type site struct {
	t            *testing.T
	nodes        []node
	client       *netns.Peer
	node1, node2 string // the nodes' MACs
}

// newSite makes the first node in this namespace, where Invar runs, with a bridge on the LAN as hosts of virtual machines have
// it. That is the LAN's switch as well.
func newSite(t *testing.T, strictARP bool) site {
	second, client := netns.NewPeer(t), netns.NewPeer(t)
	netns.Veth(t, second, "node2")
	netns.Veth(t, client, "client")
	netns.Bridge(t, "br0", "node2", "client")
	netns.SetUp(t, "lo")
	here := func(f func() error) {
		t.Helper()
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	s := site{t: t, client: client, nodes: []node{
		{"node1", "192.168.1.11", "br0", here},
		{"node2", "192.168.1.12", "node2", second.Do},
	}}
	for _, n := range s.nodes {
		n.do(func() error { return netns.AddAddr(n.link, n.ip+"/24") })
		s.proxy(n, strictARP)
		s.serve(n)
	}
	client.Do(func() error { return netns.AddAddr("client", "192.168.1.100/24") })
	s.node1 = netns.MAC(t, "br0").String()
	second.Do(func() error { s.node2 = netns.MAC(t, "node2").String(); return nil })
	return s
}

// proxy does on a node what kube-proxy does (pkg/proxy/ipvs, NewProxier and syncProxyRules): sysctls, among them those of
// strictARP; the address on kube-ipvs0, which stays down; and a virtual server.
func (s site) proxy(n node, strictARP bool) {
	s.t.Helper()
	settings := map[string]string{"ipv4/vs/conntrack": "1", "ipv4/ip_forward": "1"}
	settings["ipv4/conf/all/arp_ignore"], settings["ipv4/conf/all/arp_announce"] = "0", "0"
	if strictARP {
		settings["ipv4/conf/all/arp_ignore"], settings["ipv4/conf/all/arp_announce"] = "1", "2"
	}
	n.do(func() error {
		dummy := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: "kube-ipvs0"}}
		if err := netlink.LinkAdd(dummy); errors.Is(err, unix.EOPNOTSUPP) {
			netns.KernelLacks(s.t, "dummy interfaces")
		} else if err != nil {
			return fmt.Errorf("add kube-ipvs0: %w", err)
		}
		if err := netlink.AddrAdd(dummy, &netlink.Addr{IPNet: netlink.NewIPNet(net.ParseIP(vip))}); err != nil {
			return fmt.Errorf("add address: %w", err)
		}
		ipvsadm := netns.Tool(s.t, "ipvsadm")
		if _, err := os.Stat("/proc/net/ip_vs"); err != nil && exec.Command(ipvsadm, "-L").Run() != nil { // which loads the module
			netns.KernelLacks(s.t, "IPVS")
		}
		server := vip + ":80"
		for _, args := range [][]string{{"-A", "-t", server, "-s", "rr"}, {"-a", "-t", server, "-r", n.ip + ":8080", "-m"}} {
			if out, err := exec.Command(ipvsadm, args...).CombinedOutput(); err != nil {
				return fmt.Errorf("run ipvsadm %q: %w: %s", args, err, out)
			}
		}
		for name, value := range settings {
			if err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644); err != nil {
				return fmt.Errorf("set sysctl: %w", err)
			}
		}
		return nil
	})
	s.t.Cleanup(func() {
		n.do(func() error {
			link, err := netlink.LinkByName("kube-ipvs0")
			if err == nil {
				err = netlink.LinkDel(link)
			}
			return errors.Join(err, exec.Command("ipvsadm", "-C").Run())
		})
	})
}

// serve runs a server on the node that says the node's name to whoever connects.
func (s site) serve(n node) {
	s.t.Helper()
	n.do(func() error {
		l, err := net.Listen("tcp", n.ip+":8080")
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, n.name)
				conn.Close()
			}
		}()
		return nil
	})
}

// announce runs Invar's announcer on the first node until the test ends, and returns it when it answers.
func (s site) announce() *layer2.Announcer {
	s.t.Helper()
	announced := make(chan netip.Addr, 1)
	a := layer2.New(layer2.Config{OnAnnounced: func(addr netip.Addr) { announced <- addr }})
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error)
	go func() { done <- a.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("Run returned %v", err)
		}
	})
	a.Set(map[netip.Addr]layer2.Announcement{netip.MustParseAddr(vip): {}})
	select {
	case <-announced:
	case <-time.After(patience):
		s.t.Fatal("the address was not announced")
	}
	return a
}

var answerer = regexp.MustCompile(`from ([0-9a-f:]{17}) `)

// answering asks on the LAN who has the address and returns the MACs of those who answer, sorted.
func (s site) answering() []string {
	s.t.Helper()
	out, _ := s.client.Run("arping", "-c", "5", "-W", "0.2", "-i", "client", vip) // fails if nobody answers
	macs := []string{}
	for _, match := range answerer.FindAllStringSubmatch(out, -1) {
		macs = append(macs, match[1])
	}
	slices.Sort(macs)
	return slices.Compact(macs)
}

// get connects to the Service from the client and returns what the server says.
func (s site) get() string {
	s.t.Helper()
	var text []byte
	s.client.Do(func() error {
		// A numeric address is dialled on the calling goroutine, hence in the namespace.
		conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", vip+":80")
		if err != nil {
			return err
		}
		defer conn.Close()
		text, err = io.ReadAll(conn)
		return err
	})
	return string(text)
}

// TestStrictARP: without strictARP the kernel of every node answers for every Service's address; with it only Invar does. And
// that is what invar doctor says of such a kube-proxy.
func TestStrictARP(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strictARP %v", strict), func(t *testing.T) {
			s := newSite(t, strict)
			both := []string{s.node1, s.node2}
			slices.Sort(both)
			kernels, all := both, both
			if strict {
				kernels, all = []string{}, []string{s.node1}
			}
			if diff := cmp.Diff(kernels, s.answering()); diff != "" {
				t.Errorf("answering without a speaker (-want +got):\n%s", diff)
			}
			a := s.announce()
			if diff := cmp.Diff(all, s.answering()); diff != "" {
				t.Errorf("answering (-want +got):\n%s", diff)
			}
			if strict {
				if got := s.get(); got != "node1" {
					t.Errorf("served by %q, want node1, which announces", got)
				}
			}
			for _, i := range a.State().Interfaces {
				if i.Name == "kube-ipvs0" && i.Eligible() {
					t.Error("kube-ipvs0 carries announcements")
				}
			}
			report := doctor.Examine(&doctor.Facts{KubeProxy: doctor.KubeProxy{Source: "test", Mode: "ipvs", StrictARP: strict}})
			told := slices.ContainsFunc(report.Findings, func(f doctor.Finding) bool { return f.Check == "strict-arp" })
			if wrong := len(all) > 1; told != wrong {
				t.Errorf("doctor tells %v, and %d MACs answer", told, len(all))
			}
		})
	}
}
