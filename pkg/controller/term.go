package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/ipam"
	"github.com/invar-lb/invar/pkg/kube"
)

// writers bounds the status writes under way at once.
const writers = 32

// key names one thing to look at: a Service, or with an empty name the configuration.
type key = cache.ObjectName

var configKey = key{}

// gossipKey stands for what the speakers observe.
var gossipKey = key{Name: "gossip"}

// term is one time of leading: a fresh Allocator, and the worker that owns it and everything else here. Other
// goroutines only put keys in the queue and results in the channel.
type term struct {
	*Controller
	alloc    *ipam.Allocator
	queue    workqueue.TypedRateLimitingInterface[key]
	results  chan result
	writes   sync.WaitGroup
	writing  chan struct{}    // a place for each write under way
	deadline func() time.Time // until when a write may be under way
	pools    bool             // a configuration is in force
	frozen   error            // why nothing new is handed out; nil: it is
	waiting  sets.Set[key]    // Services that were refused something
	freed    bool             // something came free since these were served last
	sent     map[key]shown    // what Services were last made to show
	word     word             // what the speakers say, as heard last
	hear     func() word      // what they say now
	pace     pace             // when who announces is written down
	stranded map[key]int      // Services with addresses outside every pool, with the number of these
}

func newTerm(c *Controller) *term {
	return &term{
		Controller: c,
		alloc:      ipam.New(),
		queue:      workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[key]()),
		results:    make(chan result, writers),
		writing:    make(chan struct{}, writers),
		waiting:    sets.New[key](),
		sent:       map[key]shown{},
		stranded:   map[key]int{},
		pace:       newPace(),
		hear:       c.heard,
	}
}

// run adopts what is there and then works until ctx is done.
func (t *term) run(ctx context.Context) error {
	defer t.queue.ShutDown() // its goroutines end, also if there is nothing to do
	if err := t.adoptAll(ctx); err != nil {
		return err
	}
	stop, err := t.watch()
	if err != nil {
		return err
	}
	defer stop()
	keys := make(chan key)
	go t.pump(keys)
	defer func() {
		t.queue.ShutDown()
		for range keys { // what the pump still had in hand
		}
		go func() { t.writes.Wait(); close(t.results) }()
		for range t.results { // their context is done: they end soon
		}
	}()
	for {
		if len(t.results) == 0 { // those that wait are served once for all that came free
			t.serveWaiting()
		}
		select {
		case <-ctx.Done():
			return nil
		case k := <-keys:
			t.serveWaiting()
			t.handle(ctx, k)
		case r := <-t.results:
			t.finish(r)
		case ask := <-t.asks:
			ask(t)
		case <-t.gossip.news:
			t.queue.AddAfter(gossipKey, wordEvery) // once, however often it is asked for meanwhile
		}
	}
}

// pump turns the queue into a channel, so that the worker can wait for results as well.
func (t *term) pump(keys chan<- key) {
	defer close(keys)
	for {
		k, shutdown := t.queue.Get()
		if shutdown {
			return
		}
		keys <- k
	}
}

// watch makes events put keys into the queue, beginning with all that is there.
func (t *term) watch() (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, f := range stops {
			f()
		}
	}
	add := func(inf cache.SharedIndexInformer, f func(key)) {
		remove, e := kube.OnEvent(inf, f)
		stops = append(stops, remove)
		err = errors.Join(err, e)
	}
	t.queue.Add(configKey) // also if there is no ConfigMap: its absence is news too
	t.queue.Add(gossipKey)
	t.requeue(kube.List[corev1.Service](t.services))
	add(t.configMap, func(key) { t.queue.Add(configKey) })
	add(t.services, t.queue.Add)
	add(t.namespaces, t.requeueNamespace)
	return stop, err
}

// requeue looks again at the Services, the oldest first.
func (t *term) requeue(services []*corev1.Service) {
	slices.SortFunc(services, olderFirst)
	for _, s := range services {
		t.queue.Add(cache.MetaObjectToName(s))
	}
}

// serve decides on the Services at once, the oldest first: who came first is served first, and not who happens to be in the
// queue already, or has no write under way. What they must show is written when their turn comes.
func (t *term) serve(services []*corev1.Service) {
	slices.SortFunc(services, olderFirst)
	for _, s := range services {
		if svc := kube.ServiceOf(s); t.serves(s, svc) && (svc.IPv4 || svc.IPv6) {
			t.decide(svc, s)
		}
	}
	t.requeue(services)
}

// mayServe notes that something came free, if it did.
func (t *term) mayServe(freed bool) { t.freed = t.freed || freed }

// serveWaiting serves every Service that was refused something, if something came free since.
func (t *term) serveWaiting() {
	for t.freed {
		t.freed = false
		var waiting []*corev1.Service
		for k := range t.waiting {
			if s := kube.Get[corev1.Service](t.services, k); s != nil {
				waiting = append(waiting, s)
			}
		}
		t.serve(waiting)
	}
}

// requeueNamespace looks again at the Services of a namespace, whose labels decide which pools they may use.
func (t *term) requeueNamespace(ns key) {
	t.requeue(slices.DeleteFunc(kube.List[corev1.Service](t.services), func(s *corev1.Service) bool {
		return s.Namespace != ns.Name
	}))
}

func olderFirst(a, b *corev1.Service) int {
	name := func(s *corev1.Service) string { return cache.MetaObjectToName(s).String() }
	return explain.ByAge(name(a), a.CreationTimestamp.Time, name(b), b.CreationTimestamp.Time)
}

// adoptAll takes in every address that a Service shows. It asks the API server and not the cache, which may not have
// seen yet what the controller before this one wrote last.
func (t *term) adoptAll(ctx context.Context) error {
	t.loadConfig()
	list, err := t.cfg.Client.Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		FieldSelector: kube.OnlyLoadBalancers,
	})
	if err != nil {
		return fmt.Errorf("list Services to adopt their addresses: %w", err)
	}
	services := make([]*corev1.Service, len(list.Items))
	for i := range list.Items {
		services[i] = &list.Items[i]
	}
	slices.SortFunc(services, olderFirst) // if two show one address, it is the older one's
	for _, s := range services {
		svc := kube.ServiceOf(s)
		if t.serves(s, svc) {
			t.adopt(t.applicant(svc, s))
		}
	}
	return nil
}

func (t *term) adopt(a *explain.Applicant) {
	if err := a.Adopt(t.alloc); err != nil {
		t.cfg.Logger.Warn("address not adopted", "service", a.Service, "err", err)
	}
}

// serves reports whether this controller is in charge of the Service.
func (t *term) serves(s *corev1.Service, svc kube.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && svc.Class == t.cfg.LBClass
}

// handle looks at one key. If that takes a write, the key is done when the write is.
func (t *term) handle(ctx context.Context, k key) {
	t.cfg.Metrics.Kube.Updates.Inc()
	var w write
	switch k {
	case configKey:
		if t.loadConfig() {
			t.serve(kube.List[corev1.Service](t.services))
		}
	case gossipKey:
		t.loadWord()
	default:
		w = t.sync(k)
	}
	if w == nil {
		t.queue.Forget(k)
		t.queue.Done(k)
	} else {
		t.start(ctx, k, w)
	}
	t.showMetrics()
}

// start runs w on a goroutine of its own.
func (t *term) start(ctx context.Context, k key, w write) {
	t.writes.Go(func() {
		r := result{key: k, err: ctx.Err()}
		select {
		case t.writing <- struct{}{}:
			r.outcome, r.err = t.carryOut(ctx, w)
			<-t.writing
		case <-ctx.Done():
		}
		t.results <- r
	})
}

// carryOut runs w for no longer than the Lease is sure to be this controller's.
func (t *term) carryOut(ctx context.Context, w write) (outcome, error) {
	if t.deadline != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, t.deadline())
		defer cancel()
	}
	return w(ctx)
}

// result is what came of the write for a key.
type result struct {
	key key
	outcome
	err error
}

// finish takes in what came of a write.
func (t *term) finish(r result) {
	service := r.key.String()
	if r.err != nil {
		t.cfg.Metrics.Kube.UpdateErrors.Inc()
		t.cfg.Logger.Warn("status not written; will try again", "service", service, "err", r.err)
		t.queue.AddRateLimited(r.key)
	} else {
		t.queue.Forget(r.key)
	}
	switch r.what {
	case isShown:
		t.sent[r.key] = r.shown
		t.mayServe(t.alloc.Confirm(service, r.addrs))
	case isGone:
		t.waiting.Delete(r.key) // not before: a write that failed is tried again
		t.mayServe(t.alloc.Release(service))
	case isUnknown:
	}
	t.queue.Done(r.key)
	t.showMetrics()
}

func (t *term) showMetrics() {
	m := t.cfg.Metrics
	m.usage(t.alloc.Usage())
	m.waiting.Set(float64(len(t.waiting)))
	n := 0
	for _, addrs := range t.stranded {
		n += addrs
	}
	m.stranded.Set(float64(n))
}
