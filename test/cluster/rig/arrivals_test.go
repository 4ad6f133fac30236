package rig

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// shows is a Service with these addresses.
func shows(name string, addrs ...string) runtime.Object {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addrs {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return s
}

func TestLedger(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []runtime.Object
		done   bool
		err    string
	}{
		{name: "all", events: []runtime.Object{shows("a"), shows("b"), shows("b", "10.50.0.0"), shows("a", "10.50.0.1")}, done: true},
		{name: "repeated", events: []runtime.Object{shows("a", "10.50.0.0"), shows("a", "10.50.0.0")}},
		{name: "none"},
		{
			name: "doubled", events: []runtime.Object{shows("a", "10.50.0.0"), shows("b", "10.50.0.0")},
			err: "10.50.0.0 is given both to a and to b",
		},
		{name: "error", events: []runtime.Object{&metav1.Status{Message: "too old"}}, err: "too old"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := make(chan watch.Event, len(tt.events))
			for _, s := range tt.events {
				events <- watch.Event{Type: watch.Modified, Object: s}
			}
			close(events)
			l := &ledger{owners: map[string]string{}}
			done, err := l.read(events, 2)
			if done != tt.done {
				t.Errorf("done is %t, want %t", done, tt.done)
			}
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("got error %v, want one that says %q", err, tt.err)
			}
		})
	}
}
