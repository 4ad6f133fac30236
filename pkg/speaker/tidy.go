package speaker

import (
	"context"
	"time"
)

const (
	tidyAfter = 20 * time.Second // without a look at everything
	tidyEvery = time.Minute      // at most
)

// keepTidy calls tidy when there were looks at everything, and none since tidyAfter, until ctx is done. It is for the memory that a burst
// of looks took: the runtime gives it back to the kernel after its next collection only, and a speaker at rest makes so little garbage
// that minutes pass until then.
func keepTidy(ctx context.Context, looks <-chan struct{}, tidy func()) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-looks:
			if !quiet(ctx, looks) {
				return
			}
			tidy()
			pause(ctx, tidyEvery)
		}
	}
}

// quiet waits until there was no look for tidyAfter. It reports whether that is so, or ctx is done.
func quiet(ctx context.Context, looks <-chan struct{}) bool {
	rest := time.NewTimer(tidyAfter)
	defer rest.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-looks:
			rest.Reset(tidyAfter)
		case <-rest.C:
			return true
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
