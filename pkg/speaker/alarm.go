package speaker

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

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

	// What a wait is about; kept here because each wait would make garbage of it otherwise.
	at     time.Time
	spec   unix.ItimerSpec
	failed error
	over   func(fd uintptr) bool // isOver
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", os.NewSyscallError("timerfd_create", err))
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	conn, err := file.SyscallConn()
	a := &alarm{file: file, conn: conn}
	a.over = a.isOver
	return a, err
}

// wait waits until at. It returns an error when the alarm is closed. Only one goroutine may wait.
func (a *alarm) wait(at time.Time) error {
	a.at, a.failed = at, nil
	return errors.Join(a.conn.Read(a.over), a.failed)
}

// isOver is called at first, and when the timer has run out.
func (a *alarm) isOver(fd uintptr) bool {
	left := time.Until(a.at)
	if left <= 0 {
		return true
	}
	a.spec.Value = unix.NsecToTimespec(int64(left))
	// A call that the runtime's scheduler hears of would wake its monitor.
	_, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&a.spec)), 0, 0, 0)
	if errno != 0 {
		a.failed = os.NewSyscallError("timerfd_settime", errno)
	}
	return errno != 0
}

// close ends a wait as well.
func (a *alarm) close() { _ = a.file.Close() }
