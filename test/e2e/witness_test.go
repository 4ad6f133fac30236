//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// most is how much a witness remembers of one Service, and of what was shown twice: enough to see that it is wrong.
const most = 10

// witness follows the Services of a namespace and remembers all that they showed.
type witness struct {
	ns string

	mu       sync.Mutex
	versions map[string]string              // the newest resourceVersion, by Service
	history  map[string][]string            // the addresses that a Service showed one after the other, joined; by Service
	holders  map[string]map[string]struct{} // the Services that show an address now
	doubled  []string                       // what more than one showed at once
}

// follow starts a witness, which ends with the test.
func follow(t *testing.T, ns string) *witness {
	t.Helper()
	services := lab.Kube.CoreV1().Services(ns)
	list, err := services.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	events, err := services.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{ns: ns, versions: map[string]string{}, history: map[string][]string{}, holders: map[string]map[string]struct{}{}}
	for i := range list.Items {
		w.see(watch.Event{Type: watch.Added, Object: &list.Items[i]})
	}
	go func() {
		for e := range events.ResultChan() {
			w.see(e)
		}
	}()
	t.Cleanup(events.Stop)
	return w
}

// see takes in one event. Events come in the order of the changes, so what it knows was true at one moment.
func (w *witness) see(e watch.Event) {
	s, ok := e.Object.(*corev1.Service)
	if !ok {
		return // the watch has failed; whoever waits for what comes after will say so
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.versions[s.Name] = s.ResourceVersion
	for _, names := range w.holders {
		delete(names, s.Name)
	}
	if e.Type == watch.Deleted {
		return
	}
	for _, ip := range ips(s) {
		if w.holders[ip] == nil {
			w.holders[ip] = map[string]struct{}{}
		}
		w.holders[ip][s.Name] = struct{}{}
		names := slices.Sorted(maps.Keys(w.holders[ip]))
		if len(names) > 1 && len(w.doubled) < most {
			w.doubled = append(w.doubled, fmt.Sprintf("%s by %v", ip, names))
		}
	}
	past, now := w.history[s.Name], strings.Join(ips(s), ",")
	if len(past) == 0 || len(past) < most && past[len(past)-1] != now {
		w.history[s.Name] = append(past, now)
	}
}

// want compares all that a Service has shown until now, "" being no address.
func (w *witness) want(t *testing.T, name string, want ...string) {
	t.Helper()
	wantService(t, w.ns, name, "is seen by the witness", func(s *corev1.Service) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if seen := w.versions[name]; seen != s.ResourceVersion {
			return fmt.Errorf("it has version %s, the last one seen is %s", s.ResourceVersion, seen)
		}
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(want, w.history[name]); diff != "" {
		t.Errorf("addresses that Service %s/%s showed (-want +got):\n%s", w.ns, name, diff)
	}
}

// shows returns an address that a Service shows now, or "".
func (w *witness) shows(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ip, names := range w.holders {
		if _, ok := names[name]; ok {
			return ip
		}
	}
	return ""
}

// wantDistinct waits until each of these Services has an address, and fails if two Services ever showed the same one.
func (w *witness) wantDistinct(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		clustertest.Eventually(t, fmt.Sprintf("Service %s/%s has an address", w.ns, name), func(context.Context) error {
			if w.shows(name) == "" {
				return errors.New("it has none")
			}
			return nil
		})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.doubled) > 0 {
		t.Errorf("addresses shown by two Services at once: %s", strings.Join(w.doubled, "; "))
	}
}
