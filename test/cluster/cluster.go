package cluster

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/invar-lb/invar/pkg/kube/api"
)

// Namespace is where Invar runs.
const Namespace = "metallb-system"

// Client is the name of the host on the LAN that is no part of the cluster.
const Client = "client"

// Router is the host that is the LAN's gateway, and Outside a client on the network behind it.
const Router, Outside = "router", "outside"

// Cluster is a running lab.
type Cluster struct {
	Name       string
	Root       string // of the repository
	Program    string // the lab's own
	Kubeconfig string // path of the administrator's
	Kube       kubernetes.Interface

	dir       string // of the lab's configuration and logs
	hosts     []Host
	processes []process
	port      atomic.Uint32 // last port that a connection attempt came from
}

// Host is one host of the lab.
type Host struct {
	Name  string     `json:"name"`
	Role  string     `json:"role"` // control-plane, node, client, router or outside
	NetNS string     `json:"netns"`
	MAC   string     `json:"mac"`
	IPv4  netip.Addr `json:"ipv4"`
	IPv6  netip.Addr `json:"ipv6"`
}

// Open connects to the lab of that name, which must be up. Its program is bin/lab, unless LAB_PROGRAM names another one.
func Open(ctx context.Context, name string) (*Cluster, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Name: name, Root: root, Program: filepath.Join(root, cmp.Or(os.Getenv("LAB_PROGRAM"), "bin/lab"))}
	c.port.Store(rand.Uint32()) // an earlier process may have used some a moment ago
	out, err := c.output(ctx, "status", "--json")
	if err != nil {
		return nil, err
	}
	var status struct {
		Dir        string    `json:"dir"`
		Kubeconfig string    `json:"kubeconfig"`
		Hosts      []Host    `json:"hosts"`
		Processes  []process `json:"processes"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return nil, fmt.Errorf("read the lab's status: %w", err)
	}
	c.hosts, c.dir, c.Kubeconfig, c.processes = status.Hosts, status.Dir, status.Kubeconfig, status.Processes
	for _, h := range c.hosts {
		if h.Role != "client" && h.Role != "outside" {
			continue
		}
		if err := c.reservePorts(h.Name); err != nil {
			return nil, err
		}
	}
	rest, err := api.RESTConfig(status.Kubeconfig, "invar-test")
	if err != nil {
		return nil, err
	}
	c.Kube, err = kubernetes.NewForConfig(rest)
	return c, err
}

// repository returns the top of the repository that the working directory is in.
func repository() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, e := os.Stat(filepath.Join(dir, "manifests", "invar.yaml")); e == nil {
			return dir, nil
		}
		if dir == "/" {
			err = errors.New("not inside the repository")
		}
	}
	return "", err
}

// LogFile is where a process of the lab writes its output.
func (c *Cluster) LogFile(process string) string { return filepath.Join(c.dir, "logs", process+".log") }

// AddHost makes a host known that is none of the lab's own, for Do and Run.
func (c *Cluster) AddHost(h Host) { c.hosts = append(c.hosts, h) }

// Lab runs a command of bin/lab on this lab; its progress goes to stderr.
func (c *Cluster) Lab(ctx context.Context, args ...string) error {
	return c.run(ctx, os.Stderr, args)
}

// Kubectl runs kubectl and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := c.output(ctx, append([]string{"kubectl"}, args...)...)
	return string(out), err
}

// Apply runs kubectl apply -f on a file of the repository.
func (c *Cluster) Apply(ctx context.Context, file string) error {
	_, err := c.Kubectl(ctx, "apply", "-f", filepath.Join(c.Root, file))
	return err
}

// ApplyText runs kubectl apply on YAML text.
func (c *Cluster) ApplyText(ctx context.Context, text string) error {
	f, err := os.CreateTemp("", "invar-*.yaml")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := io.WriteString(f, text); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	_, err = c.Kubectl(ctx, "apply", "-f", f.Name())
	return err
}

// Rollout waits until all pods of a Deployment or DaemonSet are ready.
func (c *Cluster) Rollout(ctx context.Context, namespace, what string) error {
	_, err := c.Kubectl(ctx, "-n", namespace, "rollout", "status", what, "--timeout=180s")
	return err
}

func (c *Cluster) output(ctx context.Context, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := c.run(ctx, &out, args)
	return out.Bytes(), err
}

func (c *Cluster) run(ctx context.Context, out io.Writer, args []string) error {
	args = slices.Insert(slices.Clone(args), 1, "--name", c.Name)
	cmd := exec.CommandContext(ctx, c.Program, args...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Root, out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// Nodes returns the nodes, in the order of their names.
func (c *Cluster) Nodes() []Host {
	return slices.DeleteFunc(slices.Clone(c.hosts), func(h Host) bool { return h.Role != "node" })
}

// Host returns the host of that name.
func (c *Cluster) Host(name string) (Host, error) {
	i := slices.IndexFunc(c.hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return Host{}, fmt.Errorf("the lab has no host %q", name)
	}
	return c.hosts[i], nil
}

// Eventually calls f until it returns no error, and fails with its last one when ctx is done.
func Eventually(ctx context.Context, f func() error) error {
	return EventuallyEvery(ctx, 50*time.Millisecond, f)
}

// EventuallyEvery is Eventually with a pause of the caller's choice between the calls.
func EventuallyEvery(ctx context.Context, pause time.Duration, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, last: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}
