package speaker

import (
	"slices"
	"sync"
	"time"
)

// The roll is called rollSoon after it seems necessary, since the watchers of a node that has vanished don't find that out at the same
// moment, or at once if nobody is heard any more; and then ever more rarely: after rollAgain, and doubled each time up to rollLater.
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
	atOnce  chan struct{} // closed if the first call should not wait; nil: it does not
}

// note takes in whether a roll call is needed, and at once: as long as a node is in question, and nobody is heard on the wire.
func (r *roll) note(needed, atOnce bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.needed = needed; needed && !r.calling {
		r.calling, r.atOnce = true, make(chan struct{})
		go r.keepCalling(r.atOnce)
	}
	if atOnce && r.atOnce != nil {
		close(r.atOnce)
		r.atOnce = nil
	}
}

func (r *roll) keepCalling(atOnce <-chan struct{}) {
	select {
	case <-atOnce:
	case <-time.After(rollSoon):
	}
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

// rollForOthers is how large a cluster may be in which a speaker calls the roll on the word of another: all do so then, and each asks
// all.
const rollForOthers = 32

// inQuestion reports whether one of nodes is silent by the word of a live one, of node itself if there are many, and not by that of
// enough. So it is if those who could say so are in another part of the LAN.
func inQuestion(node string, nodes []string, reports map[string][]string, silent map[string]bool) bool {
	for from, says := range reports {
		if silent[from] || from != node && len(nodes) > rollForOthers {
			continue
		}
		if slices.ContainsFunc(says, func(n string) bool { return !silent[n] && slices.Contains(nodes, n) }) {
			return true
		}
	}
	return false
}
