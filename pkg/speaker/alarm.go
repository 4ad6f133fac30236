package speaker

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes a goroutine at a given time, for something that comes around so often that each wake-up counts. It is a timer of the
// kernel's (timerfd_create(2)), which the runtime's poller waits for like for a socket.
//
// With a timer of the runtime's own the poller waits for whole milliseconds, rounded down, and so is early and waits again; and
// the runtime's monitor wakes for the same timer, and looks after it each 20 µs until it has run: ten wake-ups instead of one.
type alarm struct {
	file *os.File
	conn syscall.RawConn
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", os.NewSyscallError("timerfd_create", err))
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	conn, err := file.SyscallConn()
	return &alarm{file, conn}, err
}

// wait waits until at. It returns an error when the alarm is closed. Only one goroutine may wait.
func (a *alarm) wait(at time.Time) error {
	var failed error
	err := a.conn.Read(func(fd uintptr) (done bool) { // at first, and when the timer has run out
		left := time.Until(at)
		if left <= 0 {
			return true
		}
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
		failed = unix.TimerfdSettime(int(fd), 0, &spec, nil)
		return failed != nil
	})
	return errors.Join(err, os.NewSyscallError("timerfd_settime", failed))
}

// close ends a wait as well.
func (a *alarm) close() { _ = a.file.Close() }
