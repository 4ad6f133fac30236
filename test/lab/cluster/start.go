package cluster

import (
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/invar-lb/invar/test/lab/control"
	"github.com/invar-lb/invar/test/lab/image"
	"github.com/invar-lb/invar/test/lab/node"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
)

// Subcommands of this program that are processes of a lab and nothing for humans.
const (
	HoldCommand    = "internal-node"    // NAME NODE: keeps a node's mount namespace
	ForwardCommand = "internal-forward" // NAME: lets the machine reach kube-apiserver; inherits its listener
)

// startControlPlane starts etcd, kube-apiserver and the forwarder, and then those that would give up if they had to
// wait for kube-apiserver for long.
func (b *builder) startControlPlane(ctx context.Context) error {
	b.Say("starting etcd and kube-apiserver")
	for _, p := range []control.Process{control.Etcd(b.lab), control.APIServer(b.lab)} {
		if err := b.startControl(p); err != nil {
			return err
		}
	}
	if err := b.startForwarder(); err != nil {
		return err
	}
	if err := b.wait(ctx, "kube-apiserver", b.apiReady); err != nil {
		return err
	}
	b.Say("kube-apiserver is ready; starting kube-controller-manager and kube-scheduler")
	for _, p := range []control.Process{control.ControllerManager(b.lab), control.Scheduler(b.lab)} {
		if err := b.startControl(p); err != nil {
			return err
		}
	}
	return b.registerNodes(ctx)
}

// startForwarder hands the listener down, so that nobody else can take the port in between.
func (b *builder) startForwarder() error {
	f, err := b.listener.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("hand listener to forwarder: %w", err)
	}
	defer f.Close()
	argv := []string{b.lab.Program(), ForwardCommand, b.lab.Name}
	_, err = b.start(b.lab.ControlPlane(), "forward", proc.Spec{Argv: argv, Inherit: f})
	return err
}

func (b *builder) startControl(p control.Process) error {
	h := b.lab.ControlPlane()
	_, err := b.start(h, p.Name, proc.Spec{Argv: b.argv(p), Netns: plan.NetnsPath(h.Netns)})
	return err
}

// startRuntime gives a node its mount namespace and containerd, with the images in it that a node needs to be Ready.
func (b *builder) startRuntime(ctx context.Context, h plan.Host) error {
	hold := proc.Spec{
		Argv:  []string{b.lab.Program(), HoldCommand, b.lab.Name, h.Name},
		Netns: plan.NetnsPath(h.Netns), Unshare: true,
	}
	id, err := b.start(h, holder(h), hold)
	if err != nil {
		return err
	}
	rooted := func(context.Context) (bool, error) { return node.RootReady(b.lab, h, id.PID), nil }
	if err := b.wait(ctx, "mounts of "+h.Name, rooted); err != nil {
		return err
	}
	containerd := node.Containerd(b.lab, h)
	if err := b.startOnNode(h, containerd.Name, append([]string{containerd.Name}, containerd.Args...)); err != nil {
		return err
	}
	listening := func(context.Context) (bool, error) {
		_, err := os.Stat(node.Socket(b.lab, h))
		return err == nil, err
	}
	if err := b.wait(ctx, "containerd of "+h.Name, listening); err != nil {
		return err
	}
	tars := []string{image.Tar(b.imageDir(), image.Pause)}
	if b.lab.Flannel() {
		tars = append(tars, image.Tar(b.imageDir(), image.Flannel))
	}
	return node.Load(ctx, b.lab, h, tars...)
}

// startNodes starts what makes nodes of hosts.
func (b *builder) startNodes(ctx context.Context) error {
	b.Say("starting kubelet and kube-proxy on %d nodes", b.lab.Nodes)
	g, _ := errgroup.WithContext(ctx)
	for _, h := range b.lab.NodeHosts() {
		g.Go(func() error {
			for _, p := range []control.Process{node.Kubelet(b.lab, h), node.Proxy(b.lab, h)} {
				if err := b.startOnNode(h, p.Name, b.argv(p)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// startOnNode starts a process inside of the namespaces of the node's holder.
func (b *builder) startOnNode(h plan.Host, name string, argv []string) error {
	b.mu.Lock()
	hold, ok := b.state.Find(holder(h))
	b.mu.Unlock()
	if !ok {
		return fmt.Errorf("find holder of %s: not recorded", h.Name)
	}
	_, err := b.start(h, plan.HostProcess(name, h), proc.Spec{Argv: argv, Netns: plan.NetnsPath(h.Netns), Join: hold.PID})
	return err
}

// holder is the name of the process that keeps a node's mount namespace.
func holder(h plan.Host) string { return plan.HostProcess("node", h) }
