// Command controller gives addresses to Services of type LoadBalancer. It runs once per cluster, as Deployment controller.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/invar-lb/invar/pkg/controller"
	"github.com/invar-lb/invar/pkg/daemon"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/kube/api"
	"github.com/invar-lb/invar/pkg/page"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

func run() error {
	var opts daemon.Options
	fs := flag.NewFlagSet("controller", flag.ExitOnError)
	opts.Register(fs, os.Getenv)
	fs.String("deployment", "", "accepted for MetalLB's sake, not used")
	_ = fs.Parse(os.Args[1:]) // exits by itself
	if err := opts.Check(); err != nil {
		return err
	}
	identity := os.Getenv("METALLB_POD_NAME")
	if identity == "" {
		identity, _ = os.Hostname()
	}
	if identity == "" {
		return errors.New("METALLB_POD_NAME is not set and the host has no name: this controller can't be told from others")
	}

	logger := opts.Logger(os.Stdout)
	logger.Info("controller starts", "version", daemon.Version)
	rest, err := api.RESTConfig(opts.Kubeconfig, "invar-controller/"+daemon.Version)
	if err != nil {
		return err
	}
	client, err := api.NewClient(rest)
	if err != nil {
		return err
	}
	leases, err := coordinationv1.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("create client for Leases: %w", err)
	}
	recorder, flush, err := api.NewRecorder(client, "metallb-controller", logger)
	if err != nil {
		return err
	}
	defer flush()
	reg := daemon.Registry()
	c := controller.New(controller.Config{
		Client: client, Leases: leases, Recorder: recorder, Logger: logger, Metrics: controller.NewMetrics(reg),
		Namespace: opts.Namespace, ConfigMap: opts.Config, LBClass: opts.LBClass, Identity: identity,
		BindAddr: opts.PeerAddr, Port: opts.PeerPort, Secret: opts.SecretName, Version: daemon.Version,
	})
	return daemon.Run(context.Background(),
		opts.Serve(reg, c.Ready),
		opts.ServeState(state(c), logger),
		func(ctx context.Context) error {
			return kube.EnsureSecret(ctx, client, opts.Namespace, opts.SecretName, time.Second, logger)
		},
		c.Run)
}

// state serves what the controller says of itself, and the page that shows it.
func state(c *controller.Controller) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /", page.Handler())
	mux.Handle("GET "+explain.StatePath, daemon.JSON(c.State))
	return mux
}
