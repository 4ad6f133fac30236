package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
)

// State is the content of a lab's state file.
type State struct {
	Name       string    `json:"name"`
	Nodes      int       `json:"nodes"`
	ProxyMode  string    `json:"proxyMode"`
	PodNetwork string    `json:"podNetwork"`
	APIPort    int       `json:"apiPort"` // on 127.0.0.1 of the machine
	BootID     string    `json:"bootID"`  // process ids of another boot mean nothing
	Complete   bool      `json:"complete"`
	Processes  []Process `json:"processes"`
}

// Process is a long-running process of the lab. A PID of 0 says that it was about to be started.
type Process struct {
	Name string `json:"name"`
	Host string `json:"host"`
	proc.Identity
}

// Lab is the plan that the state was made from.
func (s *State) Lab() plan.Lab {
	return plan.Lab{Name: s.Name, Nodes: s.Nodes, ProxyMode: s.ProxyMode, PodNetwork: s.PodNetwork}
}

// Set records a process, replacing an earlier one of the same name.
func (s *State) Set(p Process) {
	for i := range s.Processes {
		if s.Processes[i].Name == p.Name {
			s.Processes[i] = p
			return
		}
	}
	s.Processes = append(s.Processes, p)
}

// Find returns the process of that name.
func (s *State) Find(name string) (Process, bool) {
	for _, p := range s.Processes {
		if p.Name == name {
			return p, true
		}
	}
	return Process{}, false
}

// Load reads a state file. The error is fs.ErrNotExist if there is none.
func Load(path string) (*State, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	s := new(State)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("parse state %s: %w", path, err)
	}
	return s, nil
}

// Save replaces the state file. A reader sees the old or the new content, never half of it.
func (s *State) Save(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "state-*")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", errors.Join(err, remove(f.Name())))
	}
	return nil
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
