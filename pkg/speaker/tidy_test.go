package speaker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKeepTidy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begin, looks := time.Now(), make(chan struct{}, 1)
		var tidied []time.Duration
		go keepTidy(ctx, looks, func() { tidied = append(tidied, time.Since(begin)) })
		at := func(d time.Duration) {
			time.Sleep(time.Until(begin.Add(d)))
			poke(looks)
		}
		at(time.Hour)
		for i := range 10 { // a burst
			at(2*time.Hour + time.Duration(i)*(tidyAfter-time.Second))
		}
		at(3 * time.Hour)
		at(3*time.Hour + time.Minute) // so soon again that it waits
		time.Sleep(time.Hour)
		synctest.Wait()
		want := []time.Duration{
			time.Hour + tidyAfter, 2*time.Hour + 9*(tidyAfter-time.Second) + tidyAfter,
			3*time.Hour + tidyAfter, 3*time.Hour + tidyAfter + tidyEvery + tidyAfter,
		}
		if diff := cmp.Diff(want, tidied); diff != "" {
			t.Errorf("tidied at (-want +got):\n%s", diff)
		}
	})
}
