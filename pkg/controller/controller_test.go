package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api/apitest"
)

const (
	namespace = "metallb-system"
	pool      = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.1.160-192.168.1.161]\n"
	bigger    = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.168.1.160-192.168.1.169]\n"
	elsewhere = "address-pools:\n- name: other\n  protocol: layer2\n  addresses: [10.0.0.0-10.0.0.1]\n"
	broken    = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [nonsense]\n"
)

// harness drives one term by hand: its informers hold what a test puts there, and each write is carried out at once on a
// fake API server, whose answer the informer then sees.
type harness struct {
	*term
	t        *testing.T
	client   *fake.Clientset
	recorder *record.FakeRecorder
	version  int
	retry    bool // failed writes are tried again at once, without the queue's back-off
}

func newHarness(t *testing.T, services ...*corev1.Service) *harness {
	t.Helper()
	var objs []runtime.Object
	for _, s := range services {
		objs = append(objs, s)
	}
	h := &harness{t: t, client: fake.NewClientset(objs...), recorder: record.NewFakeRecorder(100_000)}
	h.boot()
	return h
}

// boot makes a controller as after a start of the process: it knows what the API server has.
func (h *harness) boot() {
	h.t.Helper()
	h.term = newTerm(New(Config{
		Client: apitest.Client{Fake: h.client}, Leases: h.client.CoordinationV1(), Recorder: h.recorder, Logger: slog.New(slog.DiscardHandler),
		Metrics:   NewMetrics(prometheus.NewRegistry()),
		Namespace: namespace, ConfigMap: "config", Identity: "test",
	}))
	list, err := h.client.CoreV1().Services("").List(h.t.Context(), metav1.ListOptions{})
	must(h.t, err)
	for i := range list.Items {
		if list.Items[i].Spec.Type == corev1.ServiceTypeLoadBalancer {
			h.see(&list.Items[i])
		}
	}
}

// start begins the term with the given configuration; an empty one is a ConfigMap that is missing.
func (h *harness) start(config string) *harness {
	h.t.Helper()
	if config != "" {
		h.storeConfig(config)
	}
	if err := h.adoptAll(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.requeue(kube.List[corev1.Service](h.services))
	return h.work()
}

func (h *harness) storeConfig(config string) {
	h.version++
	must(h.t, h.configMap.GetStore().Add(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "config", ResourceVersion: fmt.Sprint(h.version)},
		Data:       map[string]string{"config": config},
	}))
}

// configure changes the configuration.
func (h *harness) configure(config string) *harness {
	h.storeConfig(config)
	h.queue.Add(configKey)
	return h.work()
}

// see makes the informer see a Service, with a version of its own.
func (h *harness) see(s *corev1.Service) {
	h.version++
	s = s.DeepCopy()
	s.ResourceVersion = fmt.Sprint(h.version)
	must(h.t, h.services.GetStore().Update(s))
}

// put creates or changes a Service as a user would.
func (h *harness) put(s *corev1.Service) *harness {
	h.t.Helper()
	must(h.t, h.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("services"), s, s.Namespace))
	h.see(s)
	h.queue.Add(cache.MetaObjectToName(s))
	return h.work()
}

// add is put for a Service that is new.
func (h *harness) add(s *corev1.Service) *harness {
	h.t.Helper()
	must(h.t, h.client.Tracker().Add(s))
	h.see(s)
	h.queue.Add(cache.MetaObjectToName(s))
	return h.work()
}

// delete removes a Service; leaveType makes it one of another type, which informers see as a removal too.
func (h *harness) delete(name string) *harness {
	h.t.Helper()
	h.remove(name)
	return h.work()
}

// remove is delete without the work that this makes.
func (h *harness) remove(name string) {
	h.t.Helper()
	must(h.t, h.client.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("services"), "default", name))
	h.unsee(name)
}

func (h *harness) leaveType(name string) *harness {
	h.t.Helper()
	s := h.get(name)
	s.Spec.Type = corev1.ServiceTypeClusterIP
	must(h.t, h.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("services"), s, s.Namespace))
	h.unsee(name)
	return h.work()
}

func (h *harness) unsee(name string) {
	must(h.t, h.services.GetStore().Delete(service(name)))
	h.queue.Add(key{Namespace: "default", Name: name})
}

// work handles all keys in the queue, carrying out each write before the next key.
func (h *harness) work() *harness {
	h.t.Helper()
	for {
		h.serveWaiting()
		if h.queue.Len() == 0 {
			return h
		}
		k, _ := h.queue.Get()
		if k == configKey || k == gossipKey {
			h.handle(h.t.Context(), k)
			continue
		}
		w := h.sync(k)
		if w == nil {
			h.queue.Done(k)
			continue
		}
		out, err := w(h.t.Context())
		out.version = "" // the fake API server counts none
		h.finish(result{key: k, outcome: out, err: err})
		if err == nil {
			h.refresh(k)
		} else if h.retry {
			h.queue.Add(k)
		}
	}
}

// refresh makes the informer see what the API server has.
func (h *harness) refresh(k key) {
	s, err := h.client.CoreV1().Services(k.Namespace).Get(h.t.Context(), k.Name, metav1.GetOptions{})
	if err == nil && s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		h.see(s)
		h.queue.Add(k)
	}
}

func (h *harness) get(name string) *corev1.Service {
	h.t.Helper()
	s, err := h.client.CoreV1().Services("default").Get(h.t.Context(), name, metav1.GetOptions{})
	must(h.t, err)
	return s
}

// state returns all Services as lines "name addresses reason: message", sorted.
func (h *harness) state() string {
	h.t.Helper()
	list, err := h.client.CoreV1().Services("").List(h.t.Context(), metav1.ListOptions{})
	must(h.t, err)
	var lines []string
	for _, s := range list.Items {
		var addrs []string
		for _, in := range s.Status.LoadBalancer.Ingress {
			addrs = append(addrs, in.IP)
		}
		line := fmt.Sprintf("%s [%s]", s.Name, strings.Join(addrs, " "))
		if c := meta.FindStatusCondition(s.Status.Conditions, kube.ConditionAllocated); c != nil {
			line += fmt.Sprintf(" %s %s: %s", c.Status, c.Reason, c.Message)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// want compares the state of all Services.
func (h *harness) want(lines ...string) *harness {
	h.t.Helper()
	if diff := cmp.Diff(strings.Join(lines, "\n"), h.state()); diff != "" {
		h.t.Fatalf("Services (-want +got):\n%s", diff)
	}
	return h
}

// wantEvents compares the Events since the last call.
func (h *harness) wantEvents(want ...string) *harness {
	h.t.Helper()
	var got []string
	for {
		select {
		case e := <-h.recorder.Events:
			got = append(got, e)
			continue
		default:
		}
		break
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Fatalf("Events (-want +got):\n%s", diff)
	}
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// epoch is when Services are created, if a test doesn't make them younger.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// service returns a Service of type LoadBalancer in namespace default.
func service(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-" + name), CreationTimestamp: metav1.NewTime(epoch),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

func shows(addrs ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for _, a := range addrs {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
		}
	}
}

func annotated(kv ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Annotations = maps.Clone(s.Annotations)
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		for i := 0; i < len(kv); i += 2 {
			s.Annotations[kv[i]] = kv[i+1]
		}
	}
}

func younger(d time.Duration) func(*corev1.Service) {
	return func(s *corev1.Service) { s.CreationTimestamp = metav1.NewTime(epoch.Add(d)) }
}

const full = "False Refused: pool default: 2 of 2 addresses in use"

func TestAllocateAndRelease(t *testing.T) {
	h := newHarness(t).start(pool).wantEvents("Normal ConfigLoaded 1 pools are in force")
	h.add(service("a")).add(service("b")).add(service("c")).
		want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
			"b [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
			"c [] "+full).
		wantEvents(`Normal IPAllocated Assigned IP ["192.168.1.160"]`, `Normal IPAllocated Assigned IP ["192.168.1.161"]`,
			`Warning AllocationFailed Failed to allocate IP for "default/c": pool default: 2 of 2 addresses in use`)
	if got := h.get("a").Annotations[kube.AnnotationAllocatedFrom]; got != "default" {
		t.Errorf("annotation %s = %q, want default", kube.AnnotationAllocatedFrom, got)
	}
	h.delete("a").
		want("b [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
			"c [192.168.1.160] True Allocated: 192.168.1.160 from pool default").
		wantEvents(`Normal IPAllocated Assigned IP ["192.168.1.160"]`)
}

// TestOldestIsServedFirst frees addresses for which several Services wait.
func TestOldestIsServedFirst(t *testing.T) {
	h := newHarness(t).start(pool).add(service("a")).add(service("b"))
	h.add(service("x", younger(2*time.Hour))).add(service("y", younger(time.Hour))).add(service("z", younger(3*time.Hour)))
	h.delete("a").
		want("b [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
			"x [] "+full, "y [192.168.1.160] True Allocated: 192.168.1.160 from pool default", "z [] "+full)
}

// TestOldestIsServedFirstBeforeNews has an event of the younger of two Services that wait stand in the queue already when
// something comes free: it is not served first for that.
func TestOldestIsServedFirstBeforeNews(t *testing.T) {
	tests := []struct {
		name   string
		free   func(*harness)
		wantYZ []string
	}{
		{"configuration", func(h *harness) {
			h.storeConfig(bigger)
			h.queue.Add(configKey)
		}, []string{
			"y [192.168.1.163] True Allocated: 192.168.1.163 from pool default",
			"z [192.168.1.162] True Allocated: 192.168.1.162 from pool default",
		}},
		{"release", func(h *harness) { h.remove("a") }, []string{"y [] " + full, "z [192.168.1.160] True Allocated: 192.168.1.160 from pool default"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHarness(t).start(pool).add(service("a")).add(service("b"))
			h.add(service("y", younger(time.Hour))).add(service("z", younger(time.Minute)))
			tt.free(h)
			h.queue.Add(key{Namespace: "default", Name: "y"})
			lines := strings.Split(h.work().state(), "\n")
			if diff := cmp.Diff(tt.wantYZ, lines[len(lines)-2:]); diff != "" {
				t.Errorf("the younger and the older (-want +got):\n%s", diff)
			}
		})
	}
}

func TestLeavingTheTypeReleases(t *testing.T) {
	h := newHarness(t).start(pool).add(service("a")).add(service("b")).add(service("c"))
	h.leaveType("b").
		want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
			"b []",
			"c [192.168.1.161] True Allocated: 192.168.1.161 from pool default")
	if s := h.get("b"); len(s.Annotations) > 0 {
		t.Errorf("annotations %v are left", s.Annotations)
	}
}

// TestAdoptBeforeAllocate starts with Services that have addresses, and one older Service that has none: it must not get
// one of theirs.
func TestAdoptBeforeAllocate(t *testing.T) {
	newHarness(t,
		service("a"),
		service("b", younger(time.Hour), shows("192.168.1.160")),
		service("c", younger(time.Hour), shows("172.16.0.9"), annotated(kube.AnnotationAllocatedFrom, "gone"))).
		start(pool).
		want("a [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
			"b [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
			"c [172.16.0.9] True Stranded: 172.16.0.9 from pool gone; 172.16.0.9 lies in no pool any more and stays until "+
				`the Service asks for another address or is annotated invar.io/reallocate: "true"`).
		wantEvents("Normal ConfigLoaded 1 pools are in force", `Normal IPAllocated Assigned IP ["192.168.1.161"]`,
			"Warning AddressStranded 172.16.0.9 from pool gone; 172.16.0.9 lies in no pool any more and stays until "+
				`the Service asks for another address or is annotated invar.io/reallocate: "true"`)
}

func TestConfigChanges(t *testing.T) {
	const reason = `line 4, column 15: address-pools[0].addresses[0] (pool "default"): "nonsense"`
	h := newHarness(t, service("a"), service("b", younger(1)), service("c", younger(2))).start("").
		want("a [] False NoConfig: no configuration is in force: ConfigMap metallb-system/config does not exist",
			"b [] False NoConfig: no configuration is in force: ConfigMap metallb-system/config does not exist",
			"c [] False NoConfig: no configuration is in force: ConfigMap metallb-system/config does not exist")
	h.configure(pool).
		want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
			"b [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
			"c [] "+full)
	h.wantEventsLike("ConfigLoaded")
	h.configure(broken).
		want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
			"b [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
			"c [] "+full).
		wantEventsLike("ConfigInvalid", reason, "the last good configuration stays in force")
	h.configure(bigger).
		want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
			"b [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
			"c [192.168.1.162] True Allocated: 192.168.1.162 from pool default")
	// Nothing that is held is lost when its pool goes.
	h.configure(elsewhere)
	for name, addr := range map[string]string{"a": "192.168.1.160", "b": "192.168.1.161", "c": "192.168.1.162"} {
		if got := h.get(name).Status.LoadBalancer.Ingress; len(got) != 1 || got[0].IP != addr {
			t.Errorf("%s shows %v after its pool went, want %s", name, got, addr)
		}
	}
	if got := testutil.ToFloat64(h.cfg.Metrics.stranded); got != 3 {
		t.Errorf("metric of stranded addresses %v, want 3", got)
	}
}

// wantEventsLike wants one of the Events since the last look to contain all of the texts.
func (h *harness) wantEventsLike(texts ...string) {
	h.t.Helper()
	var seen []string
	for len(h.recorder.Events) > 0 {
		e := <-h.recorder.Events
		seen = append(seen, e)
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(e, text) }) {
			for len(h.recorder.Events) > 0 {
				<-h.recorder.Events
			}
			return
		}
	}
	h.t.Fatalf("no Event contains %q, seen %q", texts, seen)
}

func TestRequests(t *testing.T) {
	h := newHarness(t).start(pool)
	h.add(service("a", annotated("metallb.universe.tf/loadBalancerIPs", "192.168.1.161"))).
		want("a [192.168.1.161] True Allocated: 192.168.1.161 from pool default")
	h.put(service("a", shows("192.168.1.161"), annotated("metallb.io/loadBalancerIPs", "10.9.9.9"))).
		want("a [192.168.1.161] False Refused: address 10.9.9.9: in no pool; it keeps 192.168.1.161")
	h.put(service("a", shows("192.168.1.161"), annotated("metallb.io/loadBalancerIPs", "elsewhere"))).
		want(`a [192.168.1.161] False InvalidRequest: annotation loadBalancerIPs: "elsewhere" is not an IP address`)
	h.put(service("a", shows("192.168.1.161"))).
		want("a [192.168.1.161] True Allocated: 192.168.1.161 from pool default")
}

// TestStatusOfAnotherHand has somebody else wipe and change the status: the address that the Service holds is put back.
func TestStatusOfAnotherHand(t *testing.T) {
	h := newHarness(t).start(pool).add(service("a")).add(service("b"))
	want := []string{
		"a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
		"b [192.168.1.161] True Allocated: 192.168.1.161 from pool default",
	}
	h.want(want...).put(service("a")).want(want...)
	h.put(service("a", shows("192.168.1.161"))).want(want...)
}

// TestFailedWrite refuses a status write: the address stays reserved, and the write is tried again until it succeeds.
func TestFailedWrite(t *testing.T) {
	h := newHarness(t).start(pool)
	refuse := true
	h.client.PrependReactor("patch", "services", func(a k8stesting.Action) (bool, runtime.Object, error) {
		return refuse && a.(k8stesting.PatchAction).GetName() == "a", nil, errors.New("refused by a webhook")
	})
	h.add(service("a")).add(service("b")).add(service("c")).
		want("a []", "b [192.168.1.161] True Allocated: 192.168.1.161 from pool default", "c [] "+full)
	if got := testutil.ToFloat64(h.cfg.Metrics.Kube.UpdateErrors); got == 0 {
		t.Error("the failed write is not counted")
	}
	refuse = false
	waitQueue(t, h)
	h.work().want("a [192.168.1.160] True Allocated: 192.168.1.160 from pool default",
		"b [192.168.1.161] True Allocated: 192.168.1.161 from pool default", "c [] "+full)
}

// waitQueue waits for the queue's back-off to be over.
func waitQueue(t *testing.T, h *harness) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); h.queue.Len() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the key does not come back within 10 s")
		}
	}
}

// TestStaleCache looks at a Service again before the cache has seen the write: nothing is written or told twice.
func TestStaleCache(t *testing.T) {
	h := newHarness(t).start(pool)
	h.wantEventsLike("ConfigLoaded")
	s := service("a")
	must(t, h.client.Tracker().Add(s))
	h.see(s)
	w := h.sync(cache.MetaObjectToName(s))
	if w == nil {
		t.Fatal("nothing is written for a new Service")
	}
	out, err := w(t.Context())
	must(t, err)
	out.version = fmt.Sprint(h.version + 1)
	h.finish(result{key: cache.MetaObjectToName(s), outcome: out})
	if w := h.sync(cache.MetaObjectToName(s)); w != nil {
		t.Error("the same is written again from a stale cache")
	}
	h.wantEvents(`Normal IPAllocated Assigned IP ["192.168.1.160"]`)
}

// TestOtherClass leaves Services of other controllers alone.
func TestOtherClass(t *testing.T) {
	class := "example.org/other"
	h := newHarness(t).start(pool)
	h.add(service("a", func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }, shows("192.168.1.160"))).
		want("a [192.168.1.160]").wantEvents("Normal ConfigLoaded 1 pools are in force")
}

// unshareWatches makes watches give each watcher objects of its own, as a real API server does: the fake one gives the very
// objects that it keeps, and informers cut what nobody reads off theirs.
func unshareWatches(client *fake.Clientset) {
	client.PrependWatchReactor("*", func(a k8stesting.Action) (bool, watch.Interface, error) {
		var opts metav1.ListOptions
		if w, ok := a.(k8stesting.WatchActionImpl); ok {
			opts = w.ListOptions
		}
		w, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace(), opts)
		if err != nil {
			return true, nil, err
		}
		return true, watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
			e.Object = e.Object.DeepCopyObject()
			return e, true
		}), nil
	})
}

// TestRun runs a controller with its informers, its queue and its Lease: a Service gets its address, and a second controller
// takes over when the first stops.
func TestRun(t *testing.T) {
	client := fake.NewClientset(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "config"}, Data: map[string]string{"config": pool},
	})
	unshareWatches(client)
	run := func(identity string) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		c := New(Config{
			Client: apitest.Client{Fake: client}, Leases: client.CoordinationV1(), Recorder: record.NewFakeRecorder(1000), Logger: slog.New(slog.DiscardHandler),
			Metrics: NewMetrics(prometheus.NewRegistry()), Namespace: namespace, ConfigMap: "config", Identity: identity,
		})
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	wants := func(name, addr string) {
		t.Helper()
		_, err := client.CoreV1().Services("default").Create(t.Context(), service(name), metav1.CreateOptions{})
		must(t, err)
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			s, err := client.CoreV1().Services("default").Get(t.Context(), name, metav1.GetOptions{})
			must(t, err)
			if in := s.Status.LoadBalancer.Ingress; len(in) == 1 && in[0].IP == addr {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no address %s within 20 s: %+v", name, addr, s.Status)
			}
		}
	}
	stopFirst := run("first")
	wants("a", "192.168.1.160")
	stopSecond := run("second")
	defer stopSecond()
	stopFirst()
	wants("b", "192.168.1.161")
}
