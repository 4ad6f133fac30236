package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/invar-lb/invar/test/lab/cgroup"
	"github.com/invar-lb/invar/test/lab/control"
	"github.com/invar-lb/invar/test/lab/node"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
)

// componentsOf are the programs of a host that can be killed and started.
func componentsOf(lab plan.Lab, h plan.Host) []control.Process {
	switch h.Role {
	case plan.ControlPlane:
		return []control.Process{control.Etcd(lab), control.APIServer(lab), control.ControllerManager(lab), control.Scheduler(lab)}
	case plan.Node:
		return []control.Process{node.Kubelet(lab, h), node.Proxy(lab, h)}
	}
	return nil
}

// componentOf finds a component of a host by name.
func componentOf(lab plan.Lab, h plan.Host, name string) (control.Process, error) {
	var names []string
	for _, p := range componentsOf(lab, h) {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return control.Process{}, fmt.Errorf("find component: %s has no %q, but %s", h.Name, name, strings.Join(names, ", "))
}

// processName is the name of a component's process in the lab's state.
func processName(h plan.Host, component string) string {
	if h.Role == plan.Node {
		return plan.HostProcess(component, h)
	}
	return component
}

// Kill ends one component of a host with SIGKILL and waits until it is gone. That of a frozen host is gone when it is thawed,
// at the latest.
func Kill(ctx context.Context, lab plan.Lab, h plan.Host, component string, p *Progress) error {
	b, unlock, err := adoptFor(lab, h, component, p)
	if err != nil {
		return err
	}
	defer unlock()
	process, ok := b.state.Find(processName(h, component))
	if !ok {
		return fmt.Errorf("kill %s of %s: not recorded", component, h.Name)
	}
	process.Killed = true
	if err := b.record(process); err != nil { // first, so that nobody takes its end for an accident
		return err
	}
	if err := process.Kill(); err != nil {
		return err
	}
	return waitGone(ctx, h, process.Identity)
}

func waitGone(ctx context.Context, h plan.Host, id proc.Identity) error {
	ctx, cancel := context.WithTimeout(ctx, grave)
	defer cancel()
	for id.Alive() {
		if frozen, err := cgroup.Frozen(h.Cgroup); err != nil || frozen {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the end of process %d: %w", id.PID, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// Start starts a component of a host that does not run, as it was started first.
func Start(_ context.Context, lab plan.Lab, h plan.Host, component string, p *Progress) error {
	b, unlock, err := adoptFor(lab, h, component, p)
	if err != nil {
		return err
	}
	defer unlock()
	if process, ok := b.state.Find(processName(h, component)); ok && process.Alive() {
		return fmt.Errorf("start %s of %s: it runs as process %d", component, h.Name, process.PID)
	}
	return b.startComponent(h, component)
}

// adoptFor locks a lab that is up for a change of one of its components.
func adoptFor(lab plan.Lab, h plan.Host, component string, p *Progress) (b *builder, unlock func(), err error) {
	if _, err := componentOf(lab, h, component); err != nil {
		return nil, nil, err
	}
	if unlock, err = lock(lab.LockFile(), p); err != nil {
		return nil, nil, err
	}
	st, err := load(lab.Name)
	if err == nil {
		err = check(st)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return &builder{lab: lab, Progress: p, state: st, cgroups: make(map[string][]string)}, unlock, nil
}

func (b *builder) startComponent(h plan.Host, component string) (err error) {
	p, err := componentOf(b.lab, h, component)
	if err != nil {
		return err
	}
	if b.cgroups[h.Name], err = cgroup.Make(h.Cgroup); err != nil {
		return err
	}
	if h.Role == plan.Node {
		return b.startOnNode(h, p.Name, b.argv(p))
	}
	return b.startControl(p)
}

// startKilled starts what was killed on purpose.
func (b *builder) startKilled() error {
	var errs []error
	for _, h := range b.lab.Hosts() {
		for _, c := range componentsOf(b.lab, h) {
			p, ok := b.state.Find(processName(h, c.Name))
			if !ok || !p.Killed || p.Alive() {
				continue
			}
			b.Say("%s of %s was killed: starting it", c.Name, h.Name)
			errs = append(errs, b.startComponent(h, c.Name))
		}
	}
	return errors.Join(errs...)
}
