package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/invar-lb/invar/test/cluster"
)

// The simulated nodes' addresses lie in the lab's LAN, 192.168.1.0/24, between those of its own nodes and the end, without the client's.
const (
	firstSimulated = 14
	lastSimulated  = 254
	clientNumber   = 100
)

// number returns the last byte of the address of the i-th simulated node.
func number(i int) int {
	n := firstSimulated + i
	if n >= clientNumber {
		n++
	}
	return n
}

func addrOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, byte(number(i))}) }

// cable makes a namespace with a cable to the lab's switch, in which the given nodes have their addresses, and makes it known as a
// host. Its name is one of those that belong to the lab, which removes them when it is taken down.
func cable(ctx context.Context, c *cluster.Cluster, nodes []*kubelet) (host string, err error) {
	name := nodes[0].name
	netns := c.Name + "-" + name
	if err := batch(ctx, "", "netns add "+netns); err != nil {
		return "", err
	}
	// It belongs to the lab's switch, which has a namespace beside this one.
	err = batch(ctx, c.Name+"-switch",
		fmt.Sprintf("link add p-%s type veth peer name eth0 netns %s", name, netns),
		fmt.Sprintf("link set p-%s addrgenmode none master lan up", name))
	if err != nil {
		return "", err
	}
	lines := []string{"link set lo up", "link set eth0 addrgenmode none up"}
	for _, k := range nodes {
		lines = append(lines, fmt.Sprintf("addr add %s/24 dev eth0", k.addr))
	}
	if err := batch(ctx, netns, lines...); err != nil {
		return "", err
	}
	c.AddHost(cluster.Host{Name: name, Role: "simulated", NetNS: filepath.Join("/run/netns", netns), IPv4: nodes[0].addr})
	return name, nil
}

// batch runs lines of `ip`, in a namespace if one is named.
func batch(ctx context.Context, netns string, lines ...string) error {
	args := []string{"-batch", "-"}
	if netns != "" {
		args = append([]string{"-n", netns}, args...)
	}
	cmd := exec.CommandContext(ctx, "ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// apiPort is that of the lab's kube-apiserver.
const apiPort = 6443

// counters make the kernel of a host count the bytes of IP packets from and to kube-apiserver, beginning with its first packet.
var counters = fmt.Sprintf(`table ip bench {
	counter received { }
	counter sent { }
	chain input {
		type filter hook input priority filter; policy accept;
		tcp sport %[1]d counter name received
	}
	chain output {
		type filter hook output priority filter; policy accept;
		tcp dport %[1]d counter name sent
	}
}
`, apiPort)

// traffic is what a host has had from kube-apiserver, and sent to it, in bytes of IP packets.
type traffic struct{ received, sent uint64 }

// trafficOf reads a host's counters.
func trafficOf(ctx context.Context, c *cluster.Cluster, host string) (traffic, error) {
	out, err := c.Run(ctx, host, "nft", "-j", "list", "counters")
	if err != nil {
		return traffic{}, err
	}
	return parseCounters(out)
}

// parseCounters reads what `nft -j list counters` prints.
func parseCounters(text string) (traffic, error) {
	var list struct {
		Nftables []struct {
			Counter struct {
				Name  string `json:"name"`
				Bytes uint64 `json:"bytes"`
			} `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return traffic{}, fmt.Errorf("read counters: %w", err)
	}
	byName := map[string]uint64{}
	for _, item := range list.Nftables {
		byName[item.Counter.Name] = item.Counter.Bytes
	}
	for _, name := range []string{"received", "sent"} {
		if _, ok := byName[name]; !ok {
			return traffic{}, fmt.Errorf("read counters: there is none named %s", name)
		}
	}
	return traffic{byName["received"], byName["sent"]}, nil
}

// spawner starts processes in hosts that end, at the latest, when this one does.
type spawner struct {
	logs    string // folder for what they print
	starts  chan func()
	started []*exec.Cmd
}

// newSpawner returns a spawner whose thread lives as long as this process: the kernel ends a process that asked for it when the thread
// ends that started it (PR_SET_PDEATHSIG).
func newSpawner(logs string) *spawner {
	s := &spawner{logs: logs, starts: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for f := range s.starts {
			f()
		}
	}()
	return s
}

// start runs a command in a host and returns its process.
func (s *spawner) start(c *cluster.Cluster, host, log string, stdin io.Reader, env []string, command ...string) (pid int, err error) {
	h, err := c.Host(host)
	if err != nil {
		return 0, err
	}
	out, err := os.Create(filepath.Join(s.logs, log+".log"))
	if err != nil {
		return 0, err
	}
	defer out.Close()                                                                   // the process has its own
	cmd := exec.Command("nsenter", append([]string{"--net=" + h.NetNS}, command...)...) // which becomes the command
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = stdin, out, out, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	result := make(chan error)
	s.starts <- func() { result <- cmd.Start() }
	if err := <-result; err != nil {
		return 0, fmt.Errorf("start %s in %s: %w", command[0], host, err)
	}
	s.started = append(s.started, cmd)
	return cmd.Process.Pid, nil
}

// stop ends all processes. One that had ended by itself is an error.
func (s *spawner) stop() error {
	var errs []error
	for _, cmd := range s.started {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // it was killed, so it says so
		if state := cmd.ProcessState; err != nil || state != nil && state.Exited() {
			errs = append(errs, fmt.Errorf("process %d ended by itself: see %s", cmd.Process.Pid, s.logs))
		}
	}
	close(s.starts)
	return errors.Join(errs...)
}
