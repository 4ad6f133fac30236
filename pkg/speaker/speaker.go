package speaker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"golang.org/x/sync/errgroup"

	"github.com/invar-lb/invar/pkg/election"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api"
	"github.com/invar-lb/invar/pkg/layer2"
	"github.com/invar-lb/invar/pkg/membership"
)

// Timing of what has no better signal.
const (
	startWait    = 3 * time.Second        // for all listed peers to be reached at the start
	blockedWait  = 5 * time.Second        // before speakers that nobody can talk to are taken for blocked
	lonelyEvery  = time.Second            // between looks whether they are
	pauseLimit   = 800 * time.Millisecond // without running, before what this node knows may be from the past
	claimWait    = 100 * time.Millisecond // for a claim to arrive after its announcement
	meetEvery    = 500 * time.Millisecond // between two exchanges with one peer
	handOverWait = 4 * time.Second        // for others to take over when this speaker leaves
	leaveWait    = 2 * time.Second        // for the peers to hear that it has left
)

// A look at everything takes microseconds with few addresses and a good part of a tenth of a second with thousands. News that take
// nothing from this node come in bursts, and each could be followed by a look: what the API server says, which addresses turn out to be
// free, what peers claim of others. So that not all of a processor goes into them they wait for restFactor times as long as the last
// look took, newsWait at most. What says that a node is gone or back, or that a peer claims what this node holds, never waits.
const (
	restFactor = 10
	newsWait   = time.Second
)

// Config says where and for whom a speaker works.
type Config struct {
	Client    api.Client
	Recorder  record.EventRecorder
	Logger    *slog.Logger
	Metrics   *Metrics
	Node      string // this node's name in Kubernetes
	Namespace string // of the ConfigMap, the Secret and the speakers
	ConfigMap string
	Secret    string
	LBClass   string // spec.loadBalancerClass to serve; empty: Services without one
	// IgnoreExclude lets nodes announce in spite of label node.kubernetes.io/exclude-from-external-load-balancers.
	IgnoreExclude bool
	Version       string // of this build, to tell who asks
	// ExcludeInterfaces are patterns of interface names that carry nothing; nil: the usual ones.
	ExcludeInterfaces []*regexp.Regexp
	// AnnounceRate is how many gratuitous frames are sent in a second at most, AnnounceRefresh how often an address is announced
	// again; 0: the defaults of [layer2.Config].
	AnnounceRate    int
	AnnounceRefresh time.Duration
	BindAddr        netip.Addr // address to talk to peers on
	// StateDir is where what this speaker knows is saved, for the case that it comes back while the API server is away. Empty:
	// nowhere.
	StateDir string
	Port     int // port to talk to peers on, the same on all nodes; 0: membership.DefaultPort
}

// Speaker is the speaker of one node.
type Speaker struct {
	cfg       Config
	began     time.Time
	announcer *layer2.Announcer
	members   *membership.Members
	watch     *watch
	roll      roll
	deadman   *deadman
	observing sync.Mutex            // guards toReport, and is held while a report is made
	toReport  []membership.Conflict // what peers and controller are to hear
	meetings  meetings
	phases    *phases

	services, slices, nodes, configMap, secret, peerSlices cache.SharedIndexInformer

	source  *kube.ConfigSource
	changed chan struct{} // of size 1: something changed, look at everything
	news    chan struct{} // of size 1: something changed that can wait, look at everything soon
	asks    chan func()   // to be run by work, between two looks
	telling chan struct{} // of size 1: what this node holds may have changed
	joining chan struct{} // of size 1: peers may be in reach that are no members
	paused  chan struct{} // of size 1: this process did not run for a while
	unsaved chan struct{} // of size 1: something may have changed since the state was saved
	looks   chan struct{} // of size 1: everything was looked at
	started atomic.Bool

	// The rest belongs to the goroutine of work.
	node      *election.Node
	again     time.Time // when to look at everything though nothing has changed; zero: no need
	rest      time.Time // until when news have to wait
	draining  bool
	lonely    bool // no peer is a member, though some are ready
	blocked   blockage
	unclaimed map[netip.Addr]bool     // answered for without a claim since this node met its peers last
	side      side                    // how, as the log has told
	strange   time.Time               // until then, who has an address may be a speaker that is no member: see strangers
	announced map[announced]time.Time // since when
	peers     []membership.Peer       // that lived when this speaker looked last
	moves     moves
	conflicts map[netip.Addr]layer2.MAC // of which Events have told
	known     *acquaintances
	wanting   *memo[*corev1.Service, *kube.Service]
	serving   *memo[*discoveryv1.EndpointSlice, kube.Serving]
}

// New returns a speaker that does nothing before Run.
func New(cfg Config) *Speaker {
	cfg.Port = cmp.Or(cfg.Port, membership.DefaultPort)
	s := &Speaker{
		cfg:        cfg,
		began:      time.Now(),
		services:   kube.Services(cfg.Client),
		slices:     kube.EndpointSlices(cfg.Client),
		nodes:      kube.Nodes(cfg.Client),
		configMap:  kube.ConfigMap(cfg.Client, cfg.Namespace, cfg.ConfigMap),
		secret:     kube.Secret(cfg.Client, cfg.Namespace, cfg.Secret),
		peerSlices: kube.ServiceSlices(cfg.Client, cfg.Namespace, kube.SpeakerService),
		changed:    make(chan struct{}, 1),
		news:       make(chan struct{}, 1),
		asks:       make(chan func()),
		telling:    make(chan struct{}, 1),
		joining:    make(chan struct{}, 1),
		paused:     make(chan struct{}, 1),
		unsaved:    make(chan struct{}, 1),
		looks:      make(chan struct{}, 1),
		watch:      newWatch(),
		deadman:    newDeadman(),
		phases:     newPhases(),
		node:       election.NewNode(cfg.Node, pauseLimit),
		unclaimed:  map[netip.Addr]bool{},
		announced:  map[announced]time.Time{},
		conflicts:  map[netip.Addr]layer2.MAC{},
		known:      newAcquaintances(),
		wanting:    newMemo(func(svc *corev1.Service) *kube.Service { return new(kube.ServiceOf(svc)) }),
		serving:    newMemo(kube.ServingIn),
	}
	s.source = kube.NewConfigSource(s.configMap, cache.NewObjectName(cfg.Namespace, cfg.ConfigMap), cfg.Metrics.Kube)
	s.announcer = layer2.New(layer2.Config{
		Logger: cfg.Logger, Metrics: cfg.Metrics.Layer2, OnChange: s.kick, OnNews: s.mention,
		OnPeer: s.onPeer, OnAnnounced: s.onAnnounced, ExcludeInterfaces: cfg.ExcludeInterfaces,
		FramesPerSecond: cfg.AnnounceRate, Refresh: cfg.AnnounceRefresh, Alive: s.deadman.alive,
	})
	return s
}

// Ready returns nil once this node takes part: it knows its peers and is able to answer.
func (s *Speaker) Ready() error {
	switch {
	case !s.announcer.Ready():
		return errors.New("waiting for the network interfaces")
	case !s.started.Load():
		return errors.New("waiting for the API server, Secret or peers")
	}
	return nil
}

// kick makes the worker look at everything again.
func (s *Speaker) kick() {
	poke(s.changed)
	poke(s.joining)
}

// mention makes the worker look at everything again, soon.
func (s *Speaker) mention() { poke(s.news) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // already poked
	}
}

// Run takes part until ctx is done and then hands over what this node holds. It goes on answering until others do.
func (s *Speaker) Run(ctx context.Context) error {
	answering, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, gctx := errgroup.WithContext(answering)
	g.Go(func() error { return s.announcer.Run(gctx) })
	g.Go(func() error {
		defer stop()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(gctx, cancel)()
		return s.work(ctx)
	})
	return g.Wait()
}

// work is the life of a speaker.
func (s *Speaker) work(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	tick, err := newAlarm()
	if err != nil {
		return fmt.Errorf("keep watch: %w", err)
	}
	s.roll.call, s.roll.onNews = s.members.CallRoll, s.kick
	s.deadman.arm(time.Now())
	var watching, helpers sync.WaitGroup
	watched, stop := context.WithCancel(context.WithoutCancel(ctx)) // until nothing is answered any more
	defer stop()
	watching.Go(func() { s.keepWatch(watched, tick) })
	helpers.Go(func() { s.members.KeepJoining(ctx, s.listed, s.joining) })
	helpers.Go(func() { s.keepState(ctx) })
	helpers.Go(func() { s.keepTelling(ctx) })
	helpers.Go(func() { keepTidy(ctx, s.looks, debug.FreeOSMemory) })
	s.members.JoinAll(ctx, s.listed, startWait)
	s.started.Store(true)
	s.kick()
	s.loop(ctx)
	helpers.Wait()
	s.handOver()
	stop()
	watching.Wait()
	if err := s.members.Leave(leaveWait); err != nil {
		s.cfg.Logger.Warn("left without all peers having heard of it", "err", err)
	}
	return nil
}

// connect fills the caches and starts to listen for peers.
func (s *Speaker) connect(ctx context.Context) error {
	informers := []cache.SharedIndexInformer{s.services, s.slices, s.nodes, s.configMap, s.secret, s.peerSlices}
	if err := s.follow(); err != nil {
		return err
	}
	claims, found := s.restore()
	if err := s.startInformers(ctx, informers, found); err != nil {
		return err
	}
	text, err := kube.WaitForSecret(ctx, s.secret, s.secretName(), s.changed, s.cfg.Logger)
	if err != nil {
		return err
	}
	key, err := membership.DeriveKey(text)
	if err != nil {
		return fmt.Errorf("key of Secret %s: %w", s.cfg.Secret, err)
	}
	s.members, err = membership.Start(membership.Config{
		Node: s.cfg.Node, BindAddr: s.cfg.BindAddr, Port: s.cfg.Port, Key: key, Logger: s.cfg.Logger, Claims: claims,
		OnChange: s.kick, OnClaims: s.mention,
	})
	return err
}

// follow makes what matters of the API server's news kick the worker. In a large cluster that is the least of it: kubelets report, pods
// of Services come and go that are none of ours, the controller writes conditions. Whatever matters or not is in the caches by then.
func (s *Speaker) follow() error {
	errs := []error{ // none of the first three is about where the peers are
		kube.OnChange(s.services, kube.SameService, func(*corev1.Service) { s.mention() }),
		kube.OnChange(s.nodes, kube.SameNode, func(*corev1.Node) { s.mention() }),
		kube.OnChange(s.slices, kube.SameServing, func(slice *discoveryv1.EndpointSlice) {
			if s.ours(slice) { // if its Service is still to come, that will kick
				s.mention()
			}
		}),
	}
	for _, inf := range []cache.SharedIndexInformer{s.configMap, s.secret, s.peerSlices} {
		_, err := kube.OnEvent(inf, func(cache.ObjectName) { s.kick() })
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ours reports whether obj is an EndpointSlice of a Service of type LoadBalancer.
func (s *Speaker) ours(obj any) bool {
	name, ok := kube.ServiceName(obj)
	return ok && kube.Get[corev1.Service](s.services, name) != nil
}

// startInformers starts to fill the caches and waits until they are full. With something in them already it does not wait
// for an API server that is away: they fill when it is back.
func (s *Speaker) startInformers(ctx context.Context, informers []cache.SharedIndexInformer, seeded bool) error {
	full := make(chan error, 1)
	go func() { full <- kube.Start(ctx, informers...) }()
	var enough <-chan time.Time
	if seeded {
		enough = time.After(apiWait)
	}
	select {
	case err := <-full:
		return err
	case <-enough:
		s.cfg.Logger.Warn("the API server does not answer; going on with the state saved on this node")
		return nil
	}
}

func (s *Speaker) secretName() cache.ObjectName {
	return cache.NewObjectName(s.cfg.Namespace, s.cfg.Secret)
}

// loop looks at everything whenever something changed or is due, until ctx is done.
func (s *Speaker) loop(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for ctx.Err() == nil {
		due := false
		select {
		case <-ctx.Done():
		case <-s.changed:
			due = true
		case <-s.news:
			due = s.hear(time.Now())
		case <-again.C:
			due = true
		case <-s.paused:
		case ask := <-s.asks:
			ask()
		}
		s.attend(due)
		if again.Stop(); !s.again.IsZero() {
			again.Reset(time.Until(s.again))
		}
	}
}

// attend looks at everything if that is due. First comes what a pause demands: it may end with a change, and which of the two is heard
// of first is chance.
func (s *Speaker) attend(due bool) {
	now := time.Now()
	switch {
	case s.node.Paused(now, s.watch.pause(now)), !s.deadman.alive():
		s.rejoin(election.DoubtPaused)
	case due:
		s.sync()
	}
	if s.node.Stalled() {
		go s.catchUp()
	}
}

// hear reports whether news are to be looked at now. If not, that is done when it is time.
func (s *Speaker) hear(now time.Time) bool {
	if !now.Before(s.rest) {
		return true
	}
	s.again = earlier(s.again, s.rest)
	return false
}

// looked notes that everything was looked at from begin to end.
func (s *Speaker) looked(begin, end time.Time) {
	s.rest = end.Add(min(restFactor*end.Sub(begin), newsWait))
	poke(s.looks)
}
