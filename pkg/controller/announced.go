package controller

import (
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
)

// Reasons of the condition kube.ConditionAnnounced.
const (
	reasonAnnounced    = "Announced"    // each address is
	reasonPartly       = "Partly"       // some addresses are
	reasonNotAnnounced = "NotAnnounced" // no address is
)

// announced says who announces addrs. It returns what obj shows already as long as not all speakers have been heard: a controller
// that has just begun to listen must not call everything silent.
func (t *term) announced(obj *corev1.Service, addrs []netip.Addr) metav1.Condition {
	c := metav1.Condition{
		Type: kube.ConditionAnnounced, Status: metav1.ConditionFalse, Reason: reasonNotAnnounced, LastTransitionTime: metav1.Now(),
	}
	var words []string
	missing := 0
	for _, a := range addrs {
		if h, ok := t.word.holders[a]; ok {
			words = append(words, a.String()+" from node "+h.String())
		} else {
			missing++
			words = append(words, a.String()+" from no node")
		}
	}
	if missing > 0 && !t.word.complete {
		if old := meta.FindStatusCondition(obj.Status.Conditions, c.Type); old != nil {
			return *old
		}
		return c
	}
	switch {
	case len(addrs) == 0:
		c.Message = "it has no address"
		return c
	case missing == 0:
		c.Status, c.Reason = metav1.ConditionTrue, reasonAnnounced
	case missing < len(addrs):
		c.Reason = reasonPartly
	}
	c.Message = strings.Join(words, "; ")
	return c
}

// Who announces is for people to read, and a failure changes it for many Services at once, just when the API server has
// other things to do. So it is written slowly, unless there is something else to write on the Service anyway.
const (
	announcedEvery = 20 * time.Millisecond // between two such writes
	// announcedSettle is how long nobody must announce an address for that to be written: most often it is on the move.
	announcedSettle = 2 * time.Second
)

// pace says when writes that can wait are due.
type pace struct {
	next map[time.Duration]time.Time // when the next one may be, by how long it has to settle
	due  map[key]time.Time
}

func newPace() pace { return pace{next: map[time.Duration]time.Time{}, due: map[key]time.Time{}} }

// wait returns how long to wait before the write for k, 0 for not at all. The first call for k takes a turn, not before settle is
// over.
func (p *pace) wait(k key, now time.Time, settle time.Duration) time.Duration {
	due, ok := p.due[k]
	if !ok {
		due = now.Add(settle)
		// There may be no more turns before this one than there are who wait: others were given up.
		last := due.Add(time.Duration(len(p.due)) * announcedEvery)
		if next := p.next[settle]; next.After(last) {
			due = last
		} else if next.After(due) {
			due = next
		}
		p.next[settle] = due.Add(announcedEvery)
		p.due[k] = due
	}
	return max(0, due.Sub(now))
}

// done forgets the turn of k.
func (p *pace) done(k key) { delete(p.due, k) }

// postpone reports whether a write for nothing but the condition c has to wait, and sees to it that the Service is looked at
// again when its time has come.
func (t *term) postpone(k key, c metav1.Condition) bool {
	settle := time.Duration(0)
	if c.Status == metav1.ConditionFalse {
		settle = announcedSettle
	}
	wait := t.pace.wait(k, time.Now(), settle)
	if wait > 0 {
		t.queue.AddAfter(k, wait)
	}
	return wait > 0
}
