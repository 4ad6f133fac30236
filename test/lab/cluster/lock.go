package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lock keeps other commands from changing a lab, by its lock file, until the returned function is called. The kernel drops the lock of
// a command that crashes.
func lock(path string, p *Progress) (unlock func(), err error) {
	for {
		f, err := openLocked(path, p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another lab's Down removed the empty directory from under it
		}
		if err != nil {
			return nil, err
		}
		if current(f, path) {
			return func() { f.Close() }, nil
		}
		f.Close() // whoever had the lock removed the file: it locks nothing any more
	}
}

func openLocked(path string, p *Progress) (*os.File, error) {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock lab: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		p.Say("waiting for another command on this lab")
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return nil, fmt.Errorf("lock lab: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

func current(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}
