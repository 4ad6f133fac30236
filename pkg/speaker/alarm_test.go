package speaker

import (
	"testing"
	"time"
)

func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, -time.Hour, time.Nanosecond, time.Millisecond, 0, 30 * time.Millisecond, time.Microsecond} {
		at := time.Now().Add(after)
		if err := a.wait(at); err != nil {
			t.Fatal(err)
		}
		if early := time.Until(at); early > 0 {
			t.Errorf("set for %v from now, it woke %v too early", after, early)
		}
	}
	woken := make(chan error)
	go func() { woken <- a.wait(time.Now().Add(time.Hour)) }()
	a.close()
	if err := <-woken; err == nil {
		t.Errorf("waiting for what was closed returns no error")
	}
	if err := a.wait(time.Now().Add(time.Hour)); err == nil {
		t.Errorf("waiting for what is closed returns no error")
	}
}

func TestAlarmAllocates(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if n := testing.AllocsPerRun(100, func() { _ = a.wait(time.Now().Add(time.Microsecond)) }); n > 0 {
		t.Errorf("%v allocations for a wait", n)
	}
}
