package rig

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// Arrival is when the last Service got its address, or why that is not known.
type Arrival struct {
	At  time.Time
	Err error
}

// Arrivals watches the namespace, in which there is nothing yet, until n Services have their address.
func Arrivals(ctx context.Context, client kubernetes.Interface, n int) (<-chan Arrival, error) {
	services := client.CoreV1().Services(Namespace)
	list, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	if len(list.Items) > 0 {
		return nil, fmt.Errorf("namespace %s has %d Services before the benchmark, want none", Namespace, len(list.Items))
	}
	l := &ledger{version: list.ResourceVersion, owners: map[string]string{}}
	last := make(chan Arrival, 1)
	go func() {
		for { // a busy API server ends watches now and then
			events, err := services.Watch(ctx, metav1.ListOptions{ResourceVersion: l.version})
			if err != nil {
				last <- Arrival{Err: fmt.Errorf("watch Services when %d of %d have an address: %w", len(l.owners), n, err)}
				return
			}
			done, err := l.read(events.ResultChan(), n)
			now := time.Now()
			events.Stop()
			if done || err != nil {
				last <- Arrival{now, err}
				return
			}
			fmt.Fprintf(os.Stderr, "watching again; %d Services have an address\n", len(l.owners))
		}
	}()
	return last, nil
}

// ledger is what was seen of the Services.
type ledger struct {
	version string            // the newest resourceVersion
	owners  map[string]string // Service by address
}

// read reads events until n Services have their address, then it returns true, or until there are no more. It is an error if
// two Services have the same address, for what was measured then is worth nothing.
func (l *ledger) read(events <-chan watch.Event, n int) (bool, error) {
	for e := range events {
		s, ok := e.Object.(*corev1.Service)
		if !ok {
			return false, fmt.Errorf("watch Services: unexpected event %s: %v", e.Type, e.Object)
		}
		l.version = s.ResourceVersion
		for _, in := range s.Status.LoadBalancer.Ingress {
			if owner := l.owners[in.IP]; owner != "" && owner != s.Name {
				return false, fmt.Errorf("%s is given both to %s and to %s", in.IP, owner, s.Name)
			}
			l.owners[in.IP] = s.Name
		}
		if len(l.owners) == n {
			return true, nil
		}
	}
	return false, nil
}
