package speaker

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadman(t *testing.T) {
	const short, long = pauseLimit - time.Millisecond, pauseLimit + time.Millisecond
	for name, tt := range map[string]struct {
		do   func(*deadman)
		want bool
	}{
		"new":                         {func(*deadman) {}, false},
		"a beat before the start":     {func(d *deadman) { d.beat(time.Now()) }, false},
		"armed":                       {func(d *deadman) { d.arm(time.Now()) }, true},
		"armed, and a short pause":    {func(d *deadman) { d.arm(time.Now()); time.Sleep(short) }, true},
		"armed, and a long pause":     {func(d *deadman) { d.arm(time.Now()); time.Sleep(long) }, false},
		"beats with short pauses":     {beats(short, short, short), true},
		"a beat after a long pause":   {beats(short, long, 0), false},
		"beats ever since one":        {beats(short, long, 0, 1, 1, 1), false},
		"armed again after one":       {func(d *deadman) { beats(long, 0)(d); d.arm(time.Now()); beats(short, short)(d) }, true},
		"a beat that was long in use": {func(d *deadman) { now := time.Now(); beats(short, short)(d); d.beat(now) }, true},
		"released":                    {func(d *deadman) { d.release(); time.Sleep(long); d.beat(time.Now()); time.Sleep(long) }, true},
		"released after a long pause": {func(d *deadman) { beats(long, 0)(d); d.release() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDeadman()
				tt.do(d)
				if got := d.alive(); got != tt.want {
					t.Errorf("alive: %v, want %v", got, tt.want)
				}
				if got := d.beat(time.Now()); got != tt.want {
					t.Errorf("beat says %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// beats arms a deadman, and gives it a beat after each pause.
func beats(pauses ...time.Duration) func(*deadman) {
	return func(d *deadman) {
		d.arm(time.Now())
		for _, pause := range pauses {
			time.Sleep(pause)
			d.beat(time.Now())
		}
	}
}
