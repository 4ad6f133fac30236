// Command demo shows Invar's main job on a real cluster: a Service of type LoadBalancer gets an address, a node answers for
// it, and when that node's cable is cut, another does. `make demo` builds what it needs.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
)

// labName is the lab that the demo shows things on, unless LAB_NAME says otherwise.
const labName = "lab"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	result, err := run(ctx, os.Getenv("DEMO_KEEP") != "0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Println(result)
}

// run returns the line that tells the result.
func run(ctx context.Context, keep bool) (result string, err error) {
	name := os.Getenv("LAB_NAME")
	if name == "" {
		name = labName
	}
	if !keep {
		defer func() {
			err = errors.Join(err, lab(context.WithoutCancel(ctx), "down", "--name", name))
		}()
	}
	say("A Kubernetes cluster of three nodes, in network namespaces of this machine")
	_, absent := cluster.Open(ctx, name)
	if err := lab(ctx, "up", "--name", name, "--nodes", "3", "--image", "bin/invar-image.tar"); err != nil {
		return "", err
	}
	c, err := cluster.Open(ctx, name)
	if err != nil {
		return "", err
	}
	d := &demo{Cluster: c, reused: absent == nil}
	for _, step := range []func(context.Context) error{d.install, d.service, d.ask, d.failover} {
		if err := step(ctx); err != nil {
			return "", err
		}
	}
	if keep {
		d.lookAround()
	}
	return d.result(), nil
}

// lab runs a command of bin/lab.
func lab(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join("bin", "lab"), args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

func say(format string, args ...any) { fmt.Printf("\n== "+format+"\n", args...) }

// demo is what the steps find out.
type demo struct {
	*cluster.Cluster
	reused bool // the lab was up before, perhaps with another build of Invar
	addr   netip.Addr
	node   string // that announced at first
	code   int
	outage time.Duration
}

// result is the demo's last line.
func (d *demo) result() string {
	return fmt.Sprintf("demo: service=default/echo ip=%s node=%s http=%d failover_ms=%d",
		d.addr, d.node, d.code, d.outage.Milliseconds())
}

// kubectl runs kubectl and shows both the command and what it prints.
func (d *demo) kubectl(ctx context.Context, args ...string) error {
	fmt.Println("$ kubectl", strings.Join(args, " "))
	out, err := d.Kubectl(ctx, args...)
	fmt.Print(out)
	return err
}

func (d *demo) install(ctx context.Context) error {
	say("Install Invar and give it a pool of addresses")
	commands := [][]string{
		{"apply", "-f", "manifests/invar.yaml"},
		{"apply", "-f", "config/samples/layer2.yaml"},
	}
	if d.reused { // its pods run what the image held when they started
		commands = append(commands, []string{"-n", cluster.Namespace, "rollout", "restart", "deployment/controller", "daemonset/speaker"})
	}
	commands = append(commands, [][]string{
		{"-n", cluster.Namespace, "rollout", "status", "deployment/controller", "--timeout=120s"},
		{"-n", cluster.Namespace, "rollout", "status", "daemonset/speaker", "--timeout=120s"},
	}...)
	for _, args := range commands {
		if err := d.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) service(ctx context.Context) error {
	say("A Service of type LoadBalancer, with two pods behind it")
	if err := d.kubectl(ctx, "apply", "-f", "test/lab/manifests/echo.yaml"); err != nil {
		return err
	}
	if err := d.kubectl(ctx, "rollout", "status", "deployment/echo", "--timeout=120s"); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := cluster.Eventually(wait, func() error {
		svc, err := d.Kube.CoreV1().Services("default").Get(wait, "echo", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(svc.Status.LoadBalancer.Ingress) == 0 {
			return errors.New("service default/echo has no address")
		}
		d.addr, err = netip.ParseAddr(svc.Status.LoadBalancer.Ingress[0].IP)
		return err
	})
	if err != nil {
		return err
	}
	return d.kubectl(ctx, "get", "service", "echo")
}

func (d *demo) ask(ctx context.Context) error {
	say("A host on the LAN that is not in the cluster asks who has %s, and makes a request", d.addr)
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := cluster.Eventually(wait, func() (err error) {
		d.node, err = d.Holder(wait, d.addr)
		return err
	})
	if err != nil {
		return err
	}
	h, err := d.Host(d.node)
	if err != nil {
		return err
	}
	fmt.Printf("ARP: %s is at %s, which is %s\n", d.addr, h.MAC, h.Name)
	var body string
	err = cluster.Eventually(wait, func() (err error) {
		d.code, body, err = d.Get(wait, cluster.Client, netip.AddrPortFrom(d.addr, 80))
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("HTTP %d: %s", d.code, body)
	return nil
}

// Timing of the failover.
const (
	before  = 2 * time.Second // of successful connections
	longest = 20 * time.Second
	quiet   = time.Second // of successful connections after the last failure
)

func (d *demo) failover(ctx context.Context) error {
	say("Cut the cable of %s while the host opens a connection every 5 ms", d.node)
	p := d.Probe(cluster.Client, netip.AddrPortFrom(d.addr, 80))
	defer p.Stop()
	time.Sleep(before)
	if outage, _ := cluster.Outage(p.Since(time.Time{})); outage > 0 {
		return fmt.Errorf("connections failed for %s before anything was cut", outage)
	}
	cut := time.Now()
	if err := d.Lab(ctx, "cut", d.node); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if err := cluster.Eventually(wait, func() error { return d.recovered(p, cut) }); err != nil {
		return err
	}
	now, err := d.Holder(ctx, d.addr)
	if err != nil {
		return err
	}
	fmt.Printf("new connections failed for %d ms; now %s answers for %s\n", d.outage.Milliseconds(), now, d.addr)
	fmt.Printf("the cable of %s is back\n", d.node)
	return d.Lab(ctx, "heal", d.node)
}

// recovered returns nil, and notes the outage, once connections have failed since the cut and succeed again.
func (d *demo) recovered(p *cluster.Prober, cut time.Time) error {
	attempts := p.Since(cut)
	outage, ok := cluster.Outage(attempts)
	switch {
	case outage == 0:
		return errors.New("no connection has failed since the cable was cut")
	case !ok || attempts[len(attempts)-1].Start.Sub(attempts[0].Start) < outage+quiet:
		return fmt.Errorf("connections have failed for %s", outage)
	}
	d.outage = outage
	return nil
}

func (d *demo) lookAround() {
	say("Look around")
	fmt.Printf(`  bin/lab status                                      hosts and processes
  bin/lab kubectl get service,pod -A -o wide          kubectl on this cluster
  bin/lab kubectl describe service echo               what Invar says about it
  bin/lab exec client -- arping -I eth0 %[1]s   ask from the LAN
  bin/lab exec client -- curl http://%[1]s/
  bin/lab cut %[2]s; bin/lab heal %[2]s               pull its cable and plug it in again
  make lab-down                                       take everything down
`, d.addr, d.node)
}
