package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/invar-lb/invar/test/lab/control"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
	"github.com/invar-lb/invar/test/lab/state"
)

// ErrDown says that there is no lab of that name.
var ErrDown = errors.New("lab is not up")

// patience bounds every wait for something that takes seconds on an idle machine.
const patience = 3 * time.Minute

// builder is a lab that is being brought up.
type builder struct {
	lab plan.Lab
	*Progress

	mu      sync.Mutex // guards state and its file
	state   *state.State
	cgroups map[string][]string // by host: directories to enter

	listener net.Listener // where the machine reaches kube-apiserver; the forwarder inherits it
}

// close gives up what the lab's processes hold themselves by now.
func (b *builder) close() {
	if b.listener != nil {
		b.listener.Close()
	}
}

// load reads the state of a lab. The error is ErrDown if there is none.
func load(name string) (*state.State, error) {
	if err := plan.CheckName(name); err != nil {
		return nil, err
	}
	st, err := state.Load(plan.Lab{Name: name}.StateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("find lab %s: %w", name, ErrDown)
	}
	return st, err
}

// Load returns the plan of a lab that is up or half up. The error is ErrDown if there is none.
func Load(name string) (plan.Lab, error) {
	st, err := load(name)
	if err != nil {
		return plan.Lab{}, err
	}
	return st.Lab(), nil
}

// start starts a process on a host and records it, before and after.
func (b *builder) start(h plan.Host, name string, spec proc.Spec) (proc.Identity, error) {
	record := state.Process{Name: name, Host: h.Name}
	if err := b.record(record); err != nil {
		return proc.Identity{}, err
	}
	spec.Cgroups, spec.Log = b.cgroups[h.Name], b.lab.LogFile(name)
	id, err := proc.Start(spec)
	if err != nil {
		return proc.Identity{}, err
	}
	record.Identity = id
	return id, b.record(record)
}

func (b *builder) record(p state.Process) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Set(p)
	return b.state.Save(b.lab.StateFile())
}

// argv runs one of the programs that are linked into this one.
func (b *builder) argv(p control.Process) []string {
	return append([]string{b.lab.Program(), p.Name}, p.Args...)
}

// wait polls until done says so. It gives up when patience is at its end or when a process of the lab has died, and
// then quotes the end of that process's log.
func (b *builder) wait(ctx context.Context, what string, done func(ctx context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		ok, err := done(ctx)
		if ok {
			return nil
		}
		if dead := b.dead(); dead != nil {
			return fmt.Errorf("wait for %s: %w", what, dead)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// dead returns an error for a started process that does not run any more, nil if there is none.
func (b *builder) dead() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.state.Processes {
		if p.PID == 0 || p.Killed || p.Alive() {
			continue
		}
		log, err := os.ReadFile(b.lab.LogFile(p.Name))
		if err != nil {
			return fmt.Errorf("process %s has ended: %w", p.Name, err)
		}
		return fmt.Errorf("process %s has ended; its log %s ends:\n%s", p.Name, b.lab.LogFile(p.Name), lastLines(string(log), 10))
	}
	return nil
}

// lastLines returns the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
