package netns

import (
	"fmt"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Peer is another host: a network namespace without a name, which vanishes when the test ends.
type Peer struct {
	tb     testing.TB
	handle netns.NsHandle
}

// NewPeer makes a host without links.
func NewPeer(tb testing.TB) *Peer {
	tb.Helper()
	Require(tb)
	p := &Peer{tb: tb}
	p.onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make namespace: %w", err)
		}
		handle, err := netns.Get()
		p.handle = handle
		return err
	})
	tb.Cleanup(func() {
		if err := p.handle.Close(); err != nil {
			tb.Errorf("close namespace: %v", err)
		}
	})
	p.Do(func() error { return setUp("lo") })
	return p
}

// Do runs f in the peer's namespace, on a thread of its own, and waits for it. Sockets that f opens stay in the
// namespace; goroutines that f starts run outside. An error fails the test. f may end the test, too.
func (p *Peer) Do(f func() error) {
	p.tb.Helper()
	p.onThread(func() error {
		if err := netns.Set(p.handle); err != nil {
			return fmt.Errorf("enter namespace: %w", err)
		}
		return f()
	})
}

// onThread runs f on a thread that ends with it, since its namespace changes.
func (p *Peer) onThread(f func() error) {
	p.tb.Helper()
	done := make(chan error)
	go func() {
		defer close(done)
		done <- onNewThread(f)
	}()
	err, ok := <-done
	switch {
	case !ok && p.tb.Skipped():
		p.tb.SkipNow()
	case !ok: // f called FailNow
		p.tb.FailNow()
	case err != nil:
		p.tb.Fatal(err)
	}
}

// onNewThread runs f on a thread that is not used for anything else afterwards. That must not be the process's first
// thread: it can't end, and it is the one whose namespace /proc/self/net shows.
func onNewThread(f func() error) error {
	runtime.LockOSThread() // unlocked only for the first thread: any other ends with the goroutine
	if unix.Gettid() != unix.Getpid() {
		return f()
	}
	defer runtime.UnlockOSThread()
	done := make(chan error)
	go func() { // elsewhere, since this thread is taken
		defer close(done)
		done <- onNewThread(f)
	}()
	err, ok := <-done
	if !ok {
		runtime.Goexit()
	}
	return err
}

// Run runs a command in the peer's namespace and returns what it printed and whether it succeeded.
func (p *Peer) Run(name string, args ...string) (output string, err error) {
	p.tb.Helper()
	path := Tool(p.tb, name)
	p.Do(func() error {
		var out []byte
		out, err = exec.Command(path, args...).CombinedOutput()
		output = string(out)
		return nil
	})
	return output, err
}
