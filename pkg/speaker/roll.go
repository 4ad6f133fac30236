package speaker

import (
	"sync"
	"time"
)

// The roll is called rollSoon after it seems necessary, since the watchers of a node that has vanished don't find that out at the same
// moment, and then ever more rarely: after rollAgain, and doubled each time up to rollLater.
const (
	rollSoon  = 300 * time.Millisecond
	rollAgain = time.Second
	rollLater = 4 * time.Second
)

// roll has the roll of the peers called when this node may be in the smaller part of a LAN that has fallen apart. Its methods may be
// called from any goroutine.
type roll struct {
	call   func() (news bool) // [membership.Members.CallRoll]
	onNews func()

	mu      sync.Mutex
	needed  bool
	calling bool
}

// note takes in whether a roll call is needed: as long as nobody is heard on the wire, or others see a node there that this one
// doesn't.
func (r *roll) note(needed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.needed = needed; needed && !r.calling {
		r.calling = true
		go r.keepCalling()
	}
}

func (r *roll) keepCalling() {
	time.Sleep(rollSoon)
	for wait := rollAgain; r.goesOn(); wait = min(2*wait, rollLater) {
		if r.call() {
			r.onNews()
		}
		time.Sleep(wait)
	}
}

func (r *roll) goesOn() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calling = r.needed
	return r.calling
}
