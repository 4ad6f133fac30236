package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// addresses is the line of output about how fast they come.
type addresses struct {
	Phase    string `json:"phase"`
	Services int    `json:"services"`
	// Create is how long it took to make the Services with their EndpointSlices, by 16 clients at once.
	Create float64 `json:"create_seconds"`
	// Address and Announced are how long after the last create the last Service had its address, and the last address was announced;
	// 0 if it was by then.
	Address   float64 `json:"seconds_to_last_address"`
	Announced float64 `json:"seconds_to_last_announcement"`
	Most      int     `json:"most_addresses_of_a_speaker"`
	// Alone is how long kube-apiserver takes for as many writes to the status of Services that concern nobody, by 16 clients at once.
	Alone float64 `json:"apiserver_alone_seconds"`
}

// look is the line about one look of a speaker at everything.
type look struct {
	Phase string `json:"phase"`
	// CPU is what it costs a speaker, in milliseconds: the mean of all speakers.
	CPU   float64 `json:"cpu_ms_per_sync"`
	Syncs float64 `json:"syncs_per_speaker"`
}

// difference is the line about what changes of other Services' EndpointSlices cost a speaker.
type difference struct {
	Phase   string  `json:"phase"`
	Updates float64 `json:"updates_per_second"`
	// CPU is the difference to a cluster where nothing happens, in percent of one core; so are the other two.
	CPU      float64 `json:"speaker_cpu_percent"`
	Received float64 `json:"speaker_received_bytes_per_update"`
	Syncs    float64 `json:"speaker_syncs_per_second"`
}

// bench is one run.
type bench struct {
	*meter
	wanted, others *load
	out            *json.Encoder
}

// measure goes through the phases and prints a line of each.
func measure(ctx context.Context, f *fleet) error {
	m, err := newMeter(ctx, f)
	if err != nil {
		return err
	}
	b := &bench{
		meter:  m,
		wanted: &load{f, "wanted", corev1.ServiceTypeLoadBalancer},
		others: &load{f, "other", corev1.ServiceTypeClusterIP},
		out:    json.NewEncoder(os.Stdout),
	}
	if _, err := b.phase(ctx, "idle, no Services", b.wait); err != nil {
		return err
	}
	times, err := b.burst(ctx)
	if err != nil {
		return err
	}
	idle, err := b.phase(ctx, "idle", b.wait)
	if err != nil {
		return err
	}
	if err := b.look(ctx, idle); err != nil {
		return err
	}
	if err := b.beside(ctx); err != nil {
		return err
	}
	alone, err := b.others.showAddresses(ctx, min(b.services, b.options.others))
	if err != nil {
		return err
	}
	times.Alone = rig.Hundredths(alone.Seconds() * float64(b.services) / float64(min(b.services, b.options.others)))
	return b.out.Encode(times)
}

// phase measures f and prints the line.
func (b *bench) phase(ctx context.Context, name string, f func(context.Context) error) (phase, error) {
	p, err := b.measure(ctx, name, f)
	if err != nil {
		return p, err
	}
	return p, b.out.Encode(p)
}

// wait waits for the length of the window.
func (b *bench) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.window):
		return nil
	}
}

// burst makes the Services and waits until all addresses are announced, and then until all is written down.
func (b *bench) burst(ctx context.Context) (addresses, error) {
	times := addresses{Phase: "addresses", Services: b.services}
	since := func(t time.Time, created time.Time) float64 { return rig.Hundredths(max(0, t.Sub(created).Seconds())) }
	var created time.Time
	_, err := b.phase(ctx, "burst", func(ctx context.Context) error {
		last, err := rig.Arrivals(ctx, b.Kube, b.services)
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := b.wanted.create(ctx, b.services); err != nil {
			return err
		}
		created = time.Now()
		times.Create = rig.Hundredths(created.Sub(begin).Seconds())
		arrived := <-last
		if arrived.Err != nil {
			return arrived.Err
		}
		times.Address = since(arrived.At, created)
		progress("created in %.1f s, the last address %.2f s later", times.Create, times.Address)
		if times.Most, err = b.allAnnounced(ctx); err != nil {
			return err
		}
		times.Announced = since(time.Now(), created)
		progress("all announced %.2f s after the last create", times.Announced)
		return nil
	})
	if err != nil {
		return times, err
	}
	_, err = b.phase(ctx, "aftermath", b.quiet)
	return times, err
}

// allAnnounced waits until each address is announced, and returns how many one speaker has at most.
func (b *bench) allAnnounced(ctx context.Context) (most int, err error) {
	err = cluster.EventuallyEvery(ctx, time.Second, func() error {
		total, m, err := b.announced(ctx)
		if most = m; err == nil && total != b.services {
			err = fmt.Errorf("%d of %d addresses are announced", total, b.services)
		}
		return err
	})
	return most, err
}

// settled is how long the controller must not have written to be done. It writes down slowly who announces.
const settled = 5 * time.Second

// quiet waits until the controller has nothing left to write.
func (b *bench) quiet(ctx context.Context) error {
	var last float64
	var since time.Time
	return cluster.EventuallyEvery(ctx, time.Second, func() error {
		writes, err := b.statusWrites(ctx)
		if err != nil {
			return err
		}
		if writes != last {
			last, since = writes, time.Now()
		}
		if quiet := time.Since(since); quiet < settled {
			return fmt.Errorf("the last status was written %s ago", quiet)
		}
		return nil
	})
}

// statusWrites returns how many times a Service's status was written.
func (b *bench) statusWrites(ctx context.Context) (float64, error) {
	lines, err := b.APIServerMetrics(ctx, "apiserver_request_total")
	if err != nil {
		return 0, err
	}
	var own []string
	for _, line := range lines {
		if strings.Contains(line, `resource="services"`) && strings.Contains(line, `subresource="status"`) {
			own = append(own, line)
		}
	}
	return cluster.Sum(own)
}

// looks is how many times the speakers are made to look at everything.
const looks = 20

// look makes the speakers look at everything, by changes of the ConfigMap that mean nothing, and prints what that costs beside what
// the idle phase did.
func (b *bench) look(ctx context.Context, idle phase) error {
	p, err := b.measure(ctx, "look", func(ctx context.Context) error {
		for i := range looks {
			patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"bench/look":"%d"}}}`, i)
			_, err := b.Kube.CoreV1().ConfigMaps(cluster.Namespace).Patch(ctx, "config", types.MergePatchType, patch, metav1.PatchOptions{})
			if err != nil {
				return fmt.Errorf("touch ConfigMap: %w", err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(b.window / looks):
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	syncs := p.Speaker.Syncs.Mean - idle.Speaker.Syncs.Mean*p.Seconds/idle.Seconds
	cpu := p.Speaker.Seconds.Mean - idle.Speaker.Seconds.Mean*p.Seconds/idle.Seconds
	return b.out.Encode(look{Phase: "look", CPU: rig.Hundredths(1000 * cpu / math.Max(syncs, 1)), Syncs: rig.Hundredths(syncs)})
}

// beside makes the Services of another type, and then changes their EndpointSlices.
func (b *bench) beside(ctx context.Context) error {
	_, err := b.phase(ctx, "create others", func(ctx context.Context) error { return b.others.create(ctx, b.options.others) })
	if err != nil {
		return err
	}
	without, err := b.phase(ctx, "idle beside others", b.wait)
	if err != nil {
		return err
	}
	updates := 0
	with, err := b.phase(ctx, "churn", func(ctx context.Context) (err error) {
		updates, err = b.others.change(ctx, b.options.others, b.churn, b.window)
		return err
	})
	if err != nil {
		return err
	}
	d := difference{
		Phase: "churn, difference", Updates: rig.Hundredths(float64(updates) / with.Seconds),
		CPU: rig.Hundredths(with.Speaker.CPU.Mean - without.Speaker.CPU.Mean),
		Received: rig.Hundredths((with.Speaker.Received.Mean -
			without.Speaker.Received.Mean*with.Seconds/without.Seconds) / float64(updates)),
		Syncs: rig.Hundredths(with.Speaker.Syncs.Mean/with.Seconds - without.Speaker.Syncs.Mean/without.Seconds),
	}
	return errors.Join(b.out.Encode(d), d.check())
}

// tolerable is how many times a speaker may look at everything for each change that does not concern it, other causes included that a
// phase may happen to have: a busy machine makes nodes seem silent.
const tolerable = 0.1

// check returns an error if speakers do not leave alone what does not concern them.
func (d difference) check() error {
	if perUpdate := d.Syncs / d.Updates; perUpdate > tolerable {
		return fmt.Errorf("speakers look at everything %.2f times for each change of what is none of theirs, want %v at most",
			perUpdate, tolerable)
	}
	return nil
}
