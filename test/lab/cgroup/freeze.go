package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// freezer describes where the kernel is told to freeze a cgroup and what it answers.
type freezer struct {
	file, freeze, thaw    string // what to write where
	answer, frozen, going string // what to read where: frozen, or not frozen any more
}

func findFreezer(root, name string) freezer {
	if v1 := filepath.Join(root, "freezer"); isHierarchy(v1) {
		file := filepath.Join(v1, name, "freezer.state")
		return freezer{file: file, freeze: "FROZEN", thaw: "THAWED", answer: file, frozen: "FROZEN", going: "THAWED"}
	}
	dir := filepath.Join(root, name)
	return freezer{
		file: filepath.Join(dir, "cgroup.freeze"), freeze: "1", thaw: "0",
		answer: filepath.Join(dir, "cgroup.events"), frozen: "frozen 1", going: "frozen 0",
	}
}

// Freeze stops every process at or below the cgroup, as if the machine stood still, and waits until they all are.
func Freeze(ctx context.Context, name string) error {
	f := findFreezer(mountPoint, name)
	return f.set(ctx, f.freeze, f.frozen)
}

// Thaw lets a frozen cgroup go on. A cgroup that does not exist is as good as thawed.
func Thaw(ctx context.Context, name string) error {
	f := findFreezer(mountPoint, name)
	if _, err := os.Stat(f.file); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return f.set(ctx, f.thaw, f.going)
}

// Frozen reports whether the cgroup is frozen.
func Frozen(name string) (bool, error) {
	f := findFreezer(mountPoint, name)
	data, err := os.ReadFile(f.answer)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read freezer: %w", err)
	}
	return strings.Contains(string(data), f.frozen), nil
}

// set writes the wish until the kernel says that it is fulfilled: a v1 freezer that met a process in the middle of a
// fork stays in state FREEZING until it is asked again.
func (f freezer) set(ctx context.Context, wish, answer string) error {
	for {
		if err := os.WriteFile(f.file, []byte(wish), 0); err != nil {
			return fmt.Errorf("write freezer: %w", err)
		}
		data, err := os.ReadFile(f.answer)
		if err != nil {
			return fmt.Errorf("read freezer: %w", err)
		}
		if strings.Contains(string(data), answer) {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("set freezer %s to %s: %w", f.file, wish, err)
		}
	}
}
