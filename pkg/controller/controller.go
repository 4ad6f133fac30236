package controller

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api"
	"github.com/invar-lb/invar/pkg/membership"
)

// LeaseName is the Lease that makes one controller of several the working one.
const LeaseName = "metallb-controller"

// Timing of the Lease. A controller that crashes keeps its identity (the pod's name) and goes on at once; these numbers
// are about a pod or node that is gone.
const (
	leaseDuration = 10 * time.Second
	renewDeadline = 4 * time.Second // client-go may need it twice before it says that the Lease is lost
	retryPeriod   = time.Second
)

// Config says what a controller works on.
type Config struct {
	Client    api.Client
	Leases    coordinationv1.LeasesGetter
	Recorder  record.EventRecorder
	Logger    *slog.Logger
	Metrics   *Metrics
	Namespace string // of the ConfigMap and the Lease
	ConfigMap string // name of the ConfigMap
	LBClass   string // spec.loadBalancerClass to serve; empty: Services without one
	Identity  string // distinguishes this controller from others: the pod's name
	// BindAddr and Port are where this controller listens to the speakers' gossip. Without an address it does not.
	BindAddr netip.Addr
	Port     int    // 0: membership.DefaultPort
	Secret   string // name of the Secret with the speakers' key
	Version  string // of this build, to tell who asks
}

// Controller watches Services and the configuration.
type Controller struct {
	cfg        Config
	services   cache.SharedIndexInformer
	namespaces cache.SharedIndexInformer
	configMap  cache.SharedIndexInformer
	secret     cache.SharedIndexInformer
	speakers   cache.SharedIndexInformer // EndpointSlices of their Service
	gossip     *gossip
	source     *kube.ConfigSource
	synced     atomic.Bool
	began      time.Time
	leading    atomic.Bool
	asks       chan func(*term) // to be run by the worker of a term
	moves      moveLog
}

// New returns a controller that does nothing before Run.
func New(cfg Config) *Controller {
	cfg.Port = cmp.Or(cfg.Port, membership.DefaultPort)
	c := &Controller{
		cfg:        cfg,
		services:   kube.Services(cfg.Client),
		namespaces: kube.Namespaces(cfg.Client),
		configMap:  kube.ConfigMap(cfg.Client, cfg.Namespace, cfg.ConfigMap),
		secret:     kube.Secret(cfg.Client, cfg.Namespace, cfg.Secret),
		speakers:   kube.ServiceSlices(cfg.Client, cfg.Namespace, kube.SpeakerService),
		gossip:     newGossip(),
		began:      time.Now(),
		asks:       make(chan func(*term)),
	}
	c.source = kube.NewConfigSource(c.configMap, cache.NewObjectName(cfg.Namespace, cfg.ConfigMap), cfg.Metrics.Kube)
	return c
}

// Ready returns nil once the controller works or stands by.
func (c *Controller) Ready() error {
	if !c.synced.Load() {
		return fmt.Errorf("waiting for Services and the configuration from the API server")
	}
	return nil
}

// Run works, or stands by while another controller does, until ctx is done. In either case it listens to the speakers.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var listening sync.WaitGroup
	listening.Go(func() { c.listen(ctx) })
	err := c.work(ctx)
	cancel()
	listening.Wait()
	return err
}

func (c *Controller) work(ctx context.Context) error {
	if err := kube.Start(ctx, c.services, c.namespaces, c.configMap); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	c.synced.Store(true)
	for ctx.Err() == nil {
		if err := c.stand(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stand takes part in the election once: it returns when this controller has led and does so no more, or ctx is done.
// The Lease is given back only after the worker has stopped, so that two never work at once.
func (c *Controller) stand(ctx context.Context) error {
	electing, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var leading atomic.Bool
	ended := make(chan struct{})
	lock := newFence(&resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.cfg.Namespace, Name: LeaseName},
		Client:     c.cfg.Leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.cfg.Identity},
	})
	defer lock.lose()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(lease context.Context) {
				leading.Store(true)
				defer close(ended)
				defer release()
				c.lead(ctx, lease, lock)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("set up the election of a controller: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		if !leading.Load() {
			release()
		}
	})
	defer stop()
	elector.Run(electing)
	if leading.Load() {
		<-ended
	}
	return nil
}

// lead works until ctx or lease is done, or the fence says that the Lease is lost.
func (c *Controller) lead(ctx, lease context.Context, lock *fence) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(lease, cancel)()
	defer context.AfterFunc(lock.held, cancel)()
	c.cfg.Logger.Info("this controller leads")
	c.cfg.Metrics.Leading.Set(1)
	defer c.cfg.Metrics.standBy()
	c.leading.Store(true)
	defer c.leading.Store(false)
	t := newTerm(c)
	t.deadline = lock.deadline
	if err := t.run(ctx); err != nil && ctx.Err() == nil {
		c.cfg.Logger.Error("can't work now; will stand again", "err", err)
		select {
		case <-time.After(retryPeriod):
		case <-ctx.Done():
		}
	}
}
