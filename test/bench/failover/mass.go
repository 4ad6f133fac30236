package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// massSize is the number of addresses that one node holds.
const massSize = 1000

// hushed is for how long a node must not have announced anything: longer than the pauses between the first announcements of
// an address, and shorter than the time until they are repeated.
const hushed = 5 * time.Second

// mass is one node that holds many addresses. It was asked for by their Services' annotation, so they go back there when the
// node does, and no moves on return are counted.
type mass struct {
	*bench
	node      cluster.Host
	addresses map[string]bool
}

// newMass makes the Services.
func (b *bench) newMass(ctx context.Context) (*mass, error) {
	m := &mass{bench: b, node: b.Nodes()[0], addresses: map[string]bool{}}
	progress("create %d Services", massSize)
	if err := rig.CreateServices(ctx, b.Kube, massSize, map[string]string{kube.AnnotationAnnounceFrom: m.node.Name}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not within "+patience.String()))
	defer cancel()
	return m, cluster.EventuallyEvery(ctx, time.Second, func() error { return m.findAddresses(ctx) })
}

func (m *mass) findAddresses(ctx context.Context) error {
	list, err := m.Kube.CoreV1().Services(rig.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	for _, s := range list.Items {
		if s.Name != service && len(s.Status.LoadBalancer.Ingress) > 0 {
			m.addresses[s.Status.LoadBalancer.Ingress[0].IP] = true
		}
	}
	if len(m.addresses) != massSize {
		return fmt.Errorf("%d of %d Services have an address", len(m.addresses), massSize)
	}
	return nil
}

// round cuts the node off and waits until each address is announced by another.
func (m *mass) round(ctx context.Context) (line, error) {
	if err := m.ready(ctx); err != nil {
		return line{}, err
	}
	l, err := m.Listen(cluster.Client)
	if err != nil {
		return line{}, err
	}
	after, err := m.cut(ctx, l)
	if err = errors.Join(err, l.Stop()); err != nil {
		return line{}, err
	}
	return line{Failover: after[len(after)-1], lineOfMany: &lineOfMany{
		Addresses: len(after), First: after[0], P50: median(after),
	}}, nil
}

// cut returns after how many milliseconds the addresses were announced by another node, in order.
func (m *mass) cut(ctx context.Context, l *cluster.Listener) ([]float64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*patience, errors.New("not within "+(2*patience).String()))
	defer cancel()
	if err := m.gathered(ctx, l); err != nil {
		return nil, err
	}
	begin := time.Now().Round(0)
	if err := m.port(ctx, m.node.Name, "down"); err != nil {
		return nil, err
	}
	var after []float64
	err := cluster.Eventually(ctx, func() error {
		heard, err := l.Since(begin)
		if err != nil {
			return err
		}
		if after = moved(heard, begin, m.node.MAC, m.addresses); len(after) < massSize {
			return fmt.Errorf("%d of %d addresses have moved", len(after), massSize)
		}
		return nil
	})
	return after, errors.Join(err, m.Lab(ctx, "heal", m.node.Name))
}

// gathered waits until the node announces all addresses and is done with their first announcements.
func (m *mass) gathered(ctx context.Context, l *cluster.Listener) error {
	return cluster.EventuallyEvery(ctx, time.Second, func() error {
		if err := m.announced(ctx); err != nil {
			return err
		}
		heard, err := l.Since(time.Now().Add(-hushed))
		if err != nil {
			return err
		}
		if n := len(slices.DeleteFunc(heard, func(s cluster.Sighting) bool { return !m.addresses[s.Addr.String()] })); n > 0 {
			return fmt.Errorf("%d announcements within %s", n, hushed)
		}
		return nil
	})
}

// announced returns nil if the node's speaker announces all addresses.
func (m *mass) announced(ctx context.Context) error {
	pods, err := m.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: rig.SpeakerLabels, FieldSelector: "spec.nodeName=" + m.node.Name,
	})
	if err != nil {
		return fmt.Errorf("find the speaker of %s: %w", m.node.Name, err)
	}
	if len(pods.Items) != 1 {
		return fmt.Errorf("find the speaker of %s: there are %d", m.node.Name, len(pods.Items))
	}
	lines, err := m.Metrics(ctx, pods.Items[0].Name, "metallb_speaker_announced")
	if err != nil {
		return err
	}
	own := func(line string) bool { return strings.Contains(line, `service="`+rig.Namespace+"/"+service+`"`) }
	if lines = slices.DeleteFunc(lines, own); len(lines) != massSize {
		return fmt.Errorf("%s announces %d addresses, want %d", m.node.Name, len(lines), massSize)
	}
	return nil
}

// moved returns after how many milliseconds each of the addresses was first announced by another MAC than the former, in order;
// those that were not are missing.
func moved(heard []cluster.Sighting, begin time.Time, former string, addresses map[string]bool) []float64 {
	var after []float64
	seen := map[string]bool{}
	for _, s := range heard {
		addr := s.Addr.String()
		if s.MAC == former || !addresses[addr] || seen[addr] {
			continue
		}
		seen[addr] = true
		after = append(after, milliseconds(s.At.Sub(begin)))
	}
	return after
}
