package state_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/proc"
	"github.com/invar-lb/invar/test/lab/state"
)

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if _, err := state.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file: %v, want %v", err, fs.ErrNotExist)
	}
	want := &state.State{
		Name: "lab", Nodes: 3, ProxyMode: "ipvs", Options: plan.Options{PodNetwork: "flannel", Audit: "metallb-system", FeatureGates: "WatchList=false"},
		APIPort: 1234, BootID: "b", Complete: true,
	}
	want.Set(state.Process{Name: "etcd", Host: "control-plane"})
	want.Set(state.Process{Name: "kubelet", Host: "node1", Identity: proc.Identity{PID: 2, Start: 3}})
	want.Set(state.Process{Name: "etcd", Host: "control-plane", Identity: proc.Identity{PID: 7, Start: 8}})
	for range 2 { // the second time over an existing file
		if err := want.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := state.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("files left: %v, %v, want the state only", entries, err)
	}
}

func TestSetReplaces(t *testing.T) {
	s := new(state.State)
	s.Set(state.Process{Name: "a"})
	s.Set(state.Process{Name: "b"})
	s.Set(state.Process{Name: "a", Identity: proc.Identity{PID: 5}})
	want := []state.Process{{Name: "a", Identity: proc.Identity{PID: 5}}, {Name: "b"}}
	if diff := cmp.Diff(want, s.Processes); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	if _, ok := s.Find("c"); ok {
		t.Error("Find(c): found")
	}
}

func TestLoadBroken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path, []byte(`{"name":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Load(path); err == nil {
		t.Error("Load of half a file: no error")
	}
}
