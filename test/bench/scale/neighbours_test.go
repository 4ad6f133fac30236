package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoomForNeighbours(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	read := func() map[string]string {
		t.Helper()
		got := map[string]string{}
		for _, name := range []string{"gc_thresh1", "gc_thresh2", "gc_thresh3"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(text)
		}
		return got
	}
	former := map[string]string{"gc_thresh1": "128\n", "gc_thresh2": "512\n", "gc_thresh3": "4096\n"}
	for name, text := range former {
		write(name, text)
	}
	restore, err := roomForNeighbours(dir, 20)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"gc_thresh1": "800", "gc_thresh2": "800", "gc_thresh3": "4096\n"}, read()); diff != "" {
		t.Errorf("enlarged (-want +got):\n%s", diff)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(former, read()); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	write("gc_thresh1", "many")
	if _, err := roomForNeighbours(dir, 20); err == nil {
		t.Error("a size that is no number is no error")
	}
	if diff := cmp.Diff("512\n", read()["gc_thresh2"]); diff != "" {
		t.Errorf("after an error (-want +got):\n%s", diff)
	}
}
