// Command speaker answers ARP and NDP for the addresses that its node announces. It runs on every node, as DaemonSet
// speaker.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/invar-lb/invar/pkg/daemon"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api"
	"github.com/invar-lb/invar/pkg/speaker"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "speaker:", err)
		os.Exit(1)
	}
}

// options are the speaker's own flags.
type options struct {
	daemon.Options
	node          string
	ignoreExclude bool
	stateDir      string
	exclude       string
	rate          int
	refresh       time.Duration
}

func (o *options) register(fs *flag.FlagSet) {
	o.Register(fs, os.Getenv)
	fs.StringVar(&o.node, "node-name", os.Getenv("METALLB_NODE_NAME"), "`name` of this node in Kubernetes")
	fs.BoolVar(&o.ignoreExclude, "ignore-exclude-lb", false,
		"announce in spite of the label node.kubernetes.io/exclude-from-external-load-balancers")
	fs.StringVar(&o.exclude, "exclude-interfaces", "",
		"comma-separated `patterns` of the names of interfaces that carry nothing (default those of pods and overlays)")
	fs.StringVar(&o.stateDir, "state-dir", "",
		"`folder` to save what this speaker knows in, for a restart while the API server is away (default none)")
	fs.IntVar(&o.rate, "announce-rate", layer2Rate, "`number` of gratuitous frames that are sent in a second at most")
	fs.DurationVar(&o.refresh, "announce-refresh", layer2Refresh,
		"`time` after which an address is announced again, so that switches don't forget it")
	fs.String("ml-labels", "", "accepted for MetalLB's sake, not used: speakers find each other through Service "+kube.SpeakerService)
}

// The defaults are those of pkg/layer2.
const (
	layer2Rate    = 4000
	layer2Refresh = 90 * time.Second
	// minRefresh keeps the LAN free of announcements that nobody needs.
	minRefresh = 10 * time.Second
)

// check returns an error that names the flag and what is allowed.
func (o *options) check() error {
	if err := o.Check(); err != nil {
		return err
	}
	switch {
	case o.node == "":
		return errors.New("--node-name (or METALLB_NODE_NAME) is needed")
	case !o.PeerAddr.IsValid():
		return errors.New("--ml-bindaddr (or METALLB_ML_BIND_ADDR) is needed: this node's IP address")
	case o.rate < 1:
		return fmt.Errorf("--announce-rate %d: want 1 or more frames per second", o.rate)
	case o.refresh < minRefresh:
		return fmt.Errorf("--announce-refresh %s: want %s or more", o.refresh, minRefresh)
	}
	return nil
}

func run() error {
	var opts options
	fs := flag.NewFlagSet("speaker", flag.ExitOnError)
	opts.register(fs)
	_ = fs.Parse(os.Args[1:]) // exits by itself
	if err := opts.check(); err != nil {
		return err
	}

	exclude, err := speaker.ParseExclude(opts.exclude)
	if err != nil {
		return fmt.Errorf("--exclude-interfaces: %w", err)
	}

	logger := opts.Logger(os.Stdout)
	logger.Info("speaker starts", "version", daemon.Version, "node", opts.node)
	rest, err := api.RESTConfig(opts.Kubeconfig, "invar-speaker/"+daemon.Version)
	if err != nil {
		return err
	}
	client, err := api.NewClient(rest)
	if err != nil {
		return err
	}
	recorder, flush, err := api.NewRecorder(client, "metallb-speaker", logger)
	if err != nil {
		return err
	}
	defer flush()
	reg := daemon.Registry()
	s := speaker.New(speaker.Config{
		Client: client, Recorder: recorder, Logger: logger,
		Metrics: speaker.NewMetrics(reg),
		Node:    opts.node, Namespace: opts.Namespace, ConfigMap: opts.Config, Secret: opts.SecretName,
		LBClass: opts.LBClass, IgnoreExclude: opts.ignoreExclude, ExcludeInterfaces: exclude,
		AnnounceRate: opts.rate, AnnounceRefresh: opts.refresh,
		BindAddr: opts.PeerAddr, Port: opts.PeerPort, StateDir: opts.stateDir, Version: daemon.Version,
	})
	return daemon.Run(context.Background(), opts.Serve(reg, s.Ready), opts.ServeState(state(s), logger), s.Run)
}

// state serves what the speaker says of itself.
func state(s *speaker.Speaker) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+explain.StatePath, daemon.JSON(s.State))
	return mux
}
