package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// patience is how long the speaker may take until it announces all, and is quiet.
const patience = 10 * time.Minute

// settled is for how long a speaker must not have sent gratuitous frames to be quiet: longer than any pause between the first
// frames for a new address, and much shorter than the time until it is announced again.
const settled = 5 * time.Second

// pause is that between two looks at the metrics, of which there are thousands: a look costs the speaker something.
const pause = time.Second

// The speaker's metrics: one line for each address.
const (
	announcedMetric  = "metallb_speaker_announced"
	gratuitousMetric = "metallb_layer2_gratuitous_sent"
)

// speaker is the speaker on one node.
type speaker struct {
	c    *cluster.Cluster
	node string
	pod  string
	pid  int
}

func findSpeaker(ctx context.Context, c *cluster.Cluster, node string) (*speaker, error) {
	const labels = "component=speaker"
	pods, err := c.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels, FieldSelector: "spec.nodeName=" + node,
	})
	if err != nil {
		return nil, fmt.Errorf("find the speaker of %s: %w", node, err)
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("find the speaker of %s: there are %d", node, len(pods.Items))
	}
	pid, err := cluster.ProcessOf(string(pods.Items[0].UID), "speaker")
	return &speaker{c: c, node: node, pod: pods.Items[0].Name, pid: pid}, err
}

// usage is what a process takes.
type usage struct {
	memory cluster.Memory // at the end
	cpu    float64        // percent of one core: the median of the windows
	worst  float64
}

func (u usage) String() string {
	return fmt.Sprintf("%.1f MB of memory (%.1f MB of its own making, the rest files; %.1f MB at most), %.2f %% of a core (%.2f %% at worst)",
		u.memory.Now, u.memory.Anon, u.memory.Peak, u.cpu, u.worst)
}

// usage watches the process for so many windows. It leaves the speaker alone meanwhile.
func (s *speaker) usage(ctx context.Context, windows int) (usage, error) {
	var cpus []float64
	for range windows {
		cpu, err := s.cpu(ctx)
		if err != nil {
			return usage{}, err
		}
		cpus = append(cpus, cpu)
	}
	slices.Sort(cpus)
	memory, err := cluster.MemoryOf(s.pid)
	return usage{memory: memory, cpu: cpus[windows/2], worst: cpus[windows-1]}, err
}

// cpu returns how much of a core the process takes in a window, in percent.
func (s *speaker) cpu(ctx context.Context) (float64, error) {
	before, err := cluster.CPUOf(s.pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(window):
	}
	after, err := cluster.CPUOf(s.pid)
	return 100 * (after - before).Seconds() / time.Since(begin).Seconds(), err
}

// give makes n Services that want to be announced from the speaker's node.
func (s *speaker) give(ctx context.Context, n int) error {
	if err := s.c.ApplyText(ctx, rig.Echo("Deployment")); err != nil {
		return err
	}
	if err := s.c.Rollout(ctx, rig.Namespace, "deployment/echo"); err != nil {
		return err
	}
	begin := time.Now()
	if err := rig.CreateServices(ctx, s.c.Kube, n, map[string]string{kube.AnnotationAnnounceFrom: s.node}); err != nil {
		return err
	}
	progress("%d Services created in %.1f s", n, time.Since(begin).Seconds())
	return nil
}

// waitQuiet waits until the speaker announces n addresses and its first announcements of them are over.
func (s *speaker) waitQuiet(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("not within "+patience.String()))
	defer cancel()
	if err := cluster.EventuallyEvery(ctx, pause, func() error { return s.check(ctx, n) }); err != nil {
		return err
	}
	progress("%s announces all of them", s.node)
	var last uint64
	var since time.Time
	return cluster.EventuallyEvery(ctx, pause, func() error {
		sent, err := s.gratuitous(ctx)
		if err != nil {
			return err
		}
		if sent != last {
			last, since = sent, time.Now()
		}
		if quiet := time.Since(since); quiet < settled {
			return fmt.Errorf("the last gratuitous frame was sent %s ago", quiet)
		}
		progress("%s has sent %d gratuitous frames and is quiet", s.node, sent)
		return nil
	})
}

// check returns nil if the speaker announces just n addresses.
func (s *speaker) check(ctx context.Context, n int) error {
	lines, err := s.c.Metrics(ctx, s.pod, announcedMetric)
	if err == nil && len(lines) != n {
		err = fmt.Errorf("%s announces %d addresses, want %d", s.node, len(lines), n)
	}
	return err
}

// gratuitous returns how many gratuitous frames the speaker has sent, for all its addresses.
func (s *speaker) gratuitous(ctx context.Context) (uint64, error) {
	lines, err := s.c.Metrics(ctx, s.pod, gratuitousMetric)
	if err != nil {
		return 0, err
	}
	sent, err := cluster.Sum(lines)
	return uint64(sent), err
}
