package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

const (
	// askInterval is the pause between two questions for an address, probeInterval that between two connections to a Service.
	askInterval   = 40 * time.Millisecond
	probeInterval = 50 * time.Millisecond
	// tickInterval is how often a thread asks for the processor, and late how much too late it has to get it to be a pause.
	tickInterval = 5 * time.Millisecond
	late         = 20 * time.Millisecond
	// lookInterval is how often is looked at how long the speakers have waited for a processor.
	lookInterval = 100 * time.Millisecond
)

// recording keeps all that happens until it is stopped.
type recording struct {
	cluster *cluster.Cluster
	start   time.Time
	cancel  context.CancelFunc
	workers sync.WaitGroup

	recorder     *cluster.Recorder
	interviewers []*cluster.Interviewer
	listeners    []net.Listener
	observers    []Host
	faults       []Fault

	mu      sync.Mutex // guards what follows
	changes []Change
	pauses  []Pause
	probes  map[row]*cluster.Prober
	ended   map[row][]cluster.Attempt
	control map[string]*cluster.Prober
}

// row is what connections are opened to.
type row struct {
	service string
	addr    netip.AddrPort
}

// record starts a recording.
func record(ctx context.Context, c *cluster.Cluster) (*recording, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &recording{
		cluster: c, start: time.Now(), cancel: cancel,
		probes: map[row]*cluster.Prober{}, ended: map[row][]cluster.Attempt{}, control: map[string]*cluster.Prober{},
	}
	if err := r.begin(ctx); err != nil {
		cancel()
		return nil, err
	}
	return r, nil
}

func (r *recording) begin(ctx context.Context) (err error) {
	if r.recorder, err = r.cluster.Record(); err != nil {
		return err
	}
	for n, host := range []string{cluster.Client, controlPlane} {
		i, err := r.cluster.Interview(host, byte(254-n), askInterval)
		if err != nil {
			return err
		}
		r.interviewers = append(r.interviewers, i)
		r.observers = append(r.observers, Host{Name: host, Port: host, MAC: i.MAC()})
	}
	for _, h := range r.cluster.Nodes() {
		if err := r.listen(h); err != nil {
			return err
		}
	}
	for cpu := range runtime.NumCPU() {
		r.workers.Go(func() { r.watchPauses(ctx, cpu) })
	}
	for _, h := range r.cluster.Nodes() {
		r.workers.Go(func() { r.watchSpeaker(ctx, h.Name) })
	}
	return r.watchServices(ctx)
}

// now is the time since the recording began.
func (r *recording) now() time.Duration { return time.Since(r.start) }

// listen accepts connections on a node, and opens them from the client: they show whether the machine is able to.
func (r *recording) listen(h cluster.Host) error {
	var l net.Listener
	err := r.cluster.Do(h.Name, func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(h.IPv4, 0).String())
		return err
	})
	if err != nil {
		return fmt.Errorf("listen on %s: %w", h.Name, err)
	}
	r.listeners = append(r.listeners, l)
	r.workers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // it is closed
			}
			conn.Close()
		}
	})
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	r.control[h.Name] = r.cluster.ProbeEvery(cluster.Client, addr, probeInterval)
	return nil
}

// watchPauses notes when a thread that wants to run on a processor does not get it.
func (r *recording) watchPauses(ctx context.Context, cpu int) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	var set unix.CPUSet
	set.Set(cpu)
	_ = unix.SchedSetaffinity(0, &set) // where it is not allowed, any processor will do
	for ctx.Err() == nil {
		before := r.now()
		time.Sleep(tickInterval)
		if lost := r.now() - before - tickInterval; lost >= late {
			r.notePause(Pause{At: before, Lost: lost, Where: "machine"})
		}
	}
}

// watchSpeaker notes when a thread of a node's speaker waits for a processor.
func (r *recording) watchSpeaker(ctx context.Context, node string) {
	pid := 0
	var before map[string]time.Duration
	for at := r.now(); pause(ctx, lookInterval) == nil; at = r.now() {
		after, err := cluster.WaitsOf(pid)
		if err != nil {
			before = nil
			if pid, err = r.cluster.ProcessOn(node, "speaker"); err != nil {
				pid = 0 // there is none at the moment
			}
			continue
		}
		var lost time.Duration
		for thread, waited := range after {
			if earlier, ok := before[thread]; ok {
				lost = max(lost, waited-earlier)
			}
		}
		before = after
		if lost >= late {
			r.notePause(Pause{At: at, Lost: lost, Where: node})
		}
	}
}

func (r *recording) notePause(p Pause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pauses = append(r.pauses, p)
}

// watchServices notes every change of a Service.
func (r *recording) watchServices(ctx context.Context) error {
	list := cache.NewListWatchFromClient(r.cluster.Kube.CoreV1().RESTClient(), "services", rig.Namespace, fields.Everything())
	informer := cache.NewSharedInformer(list, &corev1.Service{}, 0)
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { r.noteService(o, false) },
		UpdateFunc: func(_, o any) { r.noteService(o, false) },
		DeleteFunc: func(o any) { r.noteService(o, true) },
	})
	if err != nil {
		return fmt.Errorf("watch Services: %w", err)
	}
	r.workers.Go(func() { informer.RunWithContext(ctx) })
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("watch Services: %w", ctx.Err())
	}
	return nil
}

func (r *recording) noteService(o any, deleted bool) {
	if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	s, ok := o.(*corev1.Service)
	if !ok || s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	ch := changeOf(s, deleted)
	ch.At = r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes = append(r.changes, ch)
	for _, addr := range ch.Addrs {
		at := row{ch.Service, netip.AddrPortFrom(addr, uint16(s.Spec.Ports[0].Port))}
		switch p := r.probes[at]; {
		case deleted && p != nil:
			delete(r.probes, at)
			r.workers.Go(func() { r.end(at, p) })
		case !deleted && p == nil:
			r.probes[at] = r.cluster.ProbeEvery(cluster.Client, at.addr, probeInterval)
		}
		for _, i := range r.interviewers {
			i.Want(addr)
		}
	}
}

// changeOf is what a Service is.
func changeOf(s *corev1.Service, deleted bool) Change {
	ch := Change{
		Service: s.Name, UID: string(s.UID), Deleted: deleted, Sharing: s.Annotations[sharingKey],
		Local: s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		if addr, err := netip.ParseAddr(in.IP); err == nil {
			ch.Addrs = append(ch.Addrs, addr)
		}
	}
	return ch
}

// end stops a prober and keeps what it found.
func (r *recording) end(at row, p *cluster.Prober) {
	attempts := p.Stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended[at] = append(r.ended[at], attempts...)
}

// stop ends the recording and returns all of it.
func (r *recording) stop() (*History, error) {
	end := r.now()
	var errs []error
	for _, i := range r.interviewers {
		errs = append(errs, i.Stop())
	}
	r.cancel()
	for _, l := range r.listeners {
		errs = append(errs, l.Close())
	}
	r.workers.Wait()
	frames, err := r.recorder.Stop()
	h := &History{Start: r.start, Observers: r.observers, Faults: r.faults, Changes: r.changes, Pauses: r.pauses, End: end}
	for _, n := range r.cluster.Nodes() {
		mac, err := net.ParseMAC(n.MAC)
		if err != nil {
			return nil, err
		}
		h.Nodes = append(h.Nodes, Host{Name: n.Name, Port: n.Name, MAC: cluster.MAC(mac)})
	}
	h.Frames = r.framesOf(frames)
	for at, p := range r.probes {
		r.ended[at] = append(r.ended[at], p.Stop()...)
	}
	for at, attempts := range r.ended {
		h.Attempts = append(h.Attempts, r.attemptsOf(at.service, at.addr.Addr(), attempts)...)
	}
	for node, p := range r.control {
		h.Controls = append(h.Controls, r.attemptsOf(node, netip.Addr{}, p.Stop())...)
	}
	slices.SortFunc(h.Faults, func(a, b Fault) int { return int(a.Begin - b.Begin) })
	return h, errors.Join(append(errs, err)...)
}

// framesOf puts frames on the recording's clock.
func (r *recording) framesOf(frames []cluster.Frame) []Frame {
	out := make([]Frame, 0, len(frames))
	for _, f := range frames {
		addr := f.Target
		if !f.Question {
			addr = f.Sender
		}
		out = append(out, Frame{At: f.At.Sub(r.start), Port: f.Port, To: f.To, Question: f.Question, MAC: f.MAC, Addr: addr})
	}
	return out
}

// attemptsOf puts attempts on the recording's clock.
func (r *recording) attemptsOf(target string, addr netip.Addr, attempts []cluster.Attempt) (out []Attempt) {
	for _, a := range attempts {
		t := Attempt{At: a.Start.Sub(r.start), Target: target, Addr: addr, Reset: errors.Is(a.Err, syscall.ECONNRESET)}
		if a.Err != nil {
			t.Err = a.Err.Error()
		}
		out = append(out, t)
	}
	return out
}
