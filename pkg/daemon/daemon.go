package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
)

// Version is the version of this build, set by the linker.
var Version = "devel"

// Options are the flags that both daemons take, with MetalLB's names where MetalLB has them.
type Options struct {
	Host       string // address of the HTTP endpoint; empty: all
	Port       int    // port of the HTTP endpoint
	StatePort  int    // port on the loopback interface to serve the state on; 0: it is not served
	Config     string // name of the ConfigMap
	Namespace  string // namespace of the ConfigMap and of the speakers
	Kubeconfig string // empty: the pod's service account
	LBClass    string // spec.loadBalancerClass to serve; empty: Services without a class
	LogLevel   string
	SecretName string     // Secret with the speakers' shared key
	PeerAddr   netip.Addr // address to talk to speakers on; zero if not given
	PeerPort   int        // port for that, the same on all nodes; 0 if not given

	// TLSCert and TLSKey are PEM files to serve metrics and probes with; empty: plain HTTP. TokenFile has the token that is asked
	// for before metrics are given; empty: none.
	TLSCert, TLSKey, TokenFile string

	peerAddr, peerPort string
}

// Register adds the options to fs; env looks up environment variables, which give defaults.
func (o *Options) Register(fs *flag.FlagSet, env func(string) string) {
	fs.StringVar(&o.Host, "host", env("METALLB_HOST"), "`address` to serve metrics and probes on (default all)")
	fs.IntVar(&o.Port, "port", 7472, "`port` to serve metrics and probes on")
	fs.IntVar(&o.StatePort, "state-port", defaultStatePort, "`port` on 127.0.0.1 to serve the state on, 0 for none")
	fs.StringVar(&o.TLSCert, "metrics-tls-cert", "",
		"PEM `file` of a certificate to serve metrics and probes with (default none: plain HTTP)")
	fs.StringVar(&o.TLSKey, "metrics-tls-key", "", "PEM `file` of its key")
	fs.StringVar(&o.TokenFile, "metrics-token-file", "",
		"`file` with the bearer token that metrics are given for (default none: to all)")
	fs.StringVar(&o.Config, "config", "config", "`name` of the ConfigMap with the address pools")
	fs.StringVar(&o.Namespace, "namespace", env("METALLB_NAMESPACE"), "`namespace` of the ConfigMap (default the pod's own)")
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "`path` of a kubeconfig, to run outside a cluster")
	fs.StringVar(&o.LBClass, "lb-class", "", "serve only Services of this load balancer `class` (default those without one)")
	fs.StringVar(&o.LogLevel, "log-level", "info", "`level` of logging: all, debug, info, warn, error or none")
	fs.StringVar(&o.SecretName, "ml-secret-name", def(env("METALLB_ML_SECRET_NAME"), "memberlist"),
		"`name` of the Secret with the key that speakers share")
	fs.StringVar(&o.peerAddr, "ml-bindaddr", env("METALLB_ML_BIND_ADDR"), "`address` to talk to speakers on")
	fs.StringVar(&o.peerPort, "ml-bindport", env("METALLB_ML_BIND_PORT"), "`port` to talk to speakers on (default 7946)")
}

// Check completes the options after flags were parsed and reports what is wrong with them.
func (o *Options) Check() error {
	if o.Port < 1 || o.Port > 65535 {
		return fmt.Errorf("--port=%d: want 1 to 65535", o.Port)
	}
	if o.StatePort < 0 || o.StatePort > 65535 || o.StatePort == o.Port {
		return fmt.Errorf("--state-port=%d: want 0 (none) or 1 to 65535, and not that of --port", o.StatePort)
	}
	if o.Namespace == "" {
		o.Namespace = podNamespace()
	}
	if o.Namespace == "" {
		return errors.New("--namespace is needed outside a pod (or METALLB_NAMESPACE)")
	}
	_, err := parseLevel(o.LogLevel)
	return errors.Join(err, o.checkPeer(), o.checkSecurity())
}

// checkPeer parses where to talk to speakers.
func (o *Options) checkPeer() (err error) {
	if o.peerAddr != "" {
		if o.PeerAddr, err = netip.ParseAddr(o.peerAddr); err != nil {
			return fmt.Errorf("--ml-bindaddr=%q (or METALLB_ML_BIND_ADDR): want this pod's IP address", o.peerAddr)
		}
	}
	if o.peerPort != "" {
		port, err := strconv.ParseUint(o.peerPort, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("--ml-bindport=%q (or METALLB_ML_BIND_PORT): want 1 to 65535", o.peerPort)
		}
		o.PeerPort = int(port)
	}
	return nil
}

// podNamespace returns the namespace that Kubernetes writes into each pod, or "".
func podNamespace() string {
	b, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func def(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// levelNone is above every level in use.
const levelNone = slog.Level(100)

func parseLevel(s string) (slog.Level, error) {
	levels := map[string]slog.Level{
		"all": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo,
		"warn": slog.LevelWarn, "error": slog.LevelError, "none": levelNone,
	}
	l, ok := levels[s]
	if !ok {
		return 0, fmt.Errorf("--log-level=%q: want all, debug, info, warn, error or none", s)
	}
	return l, nil
}

// Logger returns a logger that writes JSON lines to w, and makes client-go's logs go the same way.
func (o *Options) Logger(w io.Writer) *slog.Logger {
	level, _ := parseLevel(o.LogLevel) // checked by Check
	logger := slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	klog.SetSlogLogger(logger.With("from", "client-go"))
	return logger
}

// Registry returns a registry with the collectors of the Go runtime, the process and the build.
func Registry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "invar_build_info", Help: "Always 1; the labels tell which build runs.",
		ConstLabels: prometheus.Labels{"version": Version, "goversion": goVersion()},
	})
	info.Set(1)
	reg.MustRegister(info)
	return reg
}

func goVersion() string {
	if bi, ok := debug.ReadBuildInfo(); ok {
		return bi.GoVersion
	}
	return "unknown"
}

// Task is one of the things that a daemon does until ctx is done. It may return nil before; an error ends the daemon.
type Task func(ctx context.Context) error

// Run runs the tasks until one of them fails or the process is told to stop by SIGINT, SIGTERM or SIGQUIT.
func Run(ctx context.Context, tasks ...Task) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, task := range tasks {
		g.Go(func() error { return task(ctx) })
	}
	return g.Wait()
}

// shutdownGrace is how long a scrape in progress may take when the daemon stops.
const shutdownGrace = time.Second

// Serve returns the task that serves /metrics, /healthz (the process answers) and /readyz (ready returns nil; else 503
// with the reason).
func (o *Options) Serve(reg *prometheus.Registry, ready func() error) Task {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.guard(promhttp.HandlerFor(reg, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return func(ctx context.Context) error {
		return serveHTTP(ctx, "metrics and probes", net.JoinHostPort(o.Host, strconv.Itoa(o.Port)), mux, o.tlsConfig())
	}
}

// Any host may talk to the HTTP endpoint, so no connection stays open for nothing: each costs memory.
const (
	readWait  = 5 * time.Second  // for a request
	writeWait = 30 * time.Second // for an answer to be given and taken
	idleWait  = 2 * time.Minute  // for the next request; longer than scrapes are apart
)

func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadTimeout: readWait, WriteTimeout: writeWait, IdleTimeout: idleWait,
		ErrorLog: log.New(io.Discard, "", 0), // or any host could fill the log with failed handshakes
	}
}

// serveHTTP serves h on addr until ctx is done, by TLS if secure is not nil. what names it in errors.
func serveHTTP(ctx context.Context, what, addr string, h http.Handler, secure *tls.Config) error {
	srv := newServer(h)
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve %s: %w", what, err)
	}
	serve := srv.Serve
	if srv.TLSConfig = secure; secure != nil {
		serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	stopped := context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		_ = srv.Shutdown(sctx) // what is still open then is cut off by exit
	})
	defer stopped()
	if err := serve(newPerHost(l)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", what, err)
	}
	return nil
}
