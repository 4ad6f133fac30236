package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/flannel-io/flannel/pkg/backend"
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw" // registers itself
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"  // registers itself
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/lease"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr"
	"github.com/flannel-io/flannel/pkg/trafficmngr/nftables"
)

const (
	// annotations is the prefix of what flannel writes on its Node: its command's default.
	annotations = "flannel.alpha.coreos.com"
	// resync is the time between two looks at the rules, in seconds: its command's default.
	resync = 5
)

func main() {
	netConf := flag.String("net-config-path", "/etc/kube-flannel/net-conf.json", "flannel's configuration: `FILE`")
	subnetFile := flag.String("subnet-file", "/run/flannel/subnet.env", "`FILE` to write the subnet to")
	cniConf := flag.String("cni-conf", "/etc/cni/net.d/10-flannel.conflist", "`FILE` to write the pods' network to")
	healthz := flag.String("healthz", ":8081", "`ADDRESS` of /healthz and /readyz")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *netConf, *subnetFile, *cniConf, *healthz); err != nil {
		fmt.Fprintln(os.Stderr, "flannel:", err)
		os.Exit(1)
	}
}

// run is flannel's own main without what Kubernetes does not need: it leases the node's subnet, makes the backend's interface and
// the rules, and follows the other nodes until ctx is done.
func run(ctx context.Context, netConf, subnetFile, cniConf, healthz string) error {
	manager, err := kube.NewSubnetManager(ctx, "", "", annotations, netConf, true)
	if err != nil {
		return fmt.Errorf("make subnet manager: %w", err)
	}
	config, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return fmt.Errorf("get network configuration: %w", err)
	}
	var ready atomic.Bool
	serve(healthz, &ready)

	var tasks sync.WaitGroup
	network, err := register(ctx, &tasks, manager, config)
	if err != nil {
		return err
	}
	own := network.Lease()
	if err := setRules(ctx, config, own); err != nil {
		return err
	}
	if err := manager.HandleSubnetFile(subnetFile, config, true, own.Subnet, own.IPv6Subnet, network.MTU()); err != nil {
		return fmt.Errorf("write subnet: %w", err)
	}
	if err := writeCNI(cniConf, subnetFile); err != nil {
		return err
	}
	ready.Store(true)
	tasks.Go(func() { network.Run(ctx) })
	if err := manager.CompleteLease(ctx, own, &tasks); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("complete lease: %w", err)
	}
	tasks.Wait()
	return nil
}

// register takes the interface with the default route, or the one that was taken before, and makes the backend on it.
func register(ctx context.Context, tasks *sync.WaitGroup, manager subnet.Manager, config *subnet.Config) (backend.Network, error) {
	stack, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return nil, fmt.Errorf("get families: %w", err)
	}
	public, public6 := manager.GetStoredPublicIP(ctx)
	external, err := ipmatch.LookupExtIface(public, "", "", stack, ipmatch.PublicIPOpts{PublicIP: public, PublicIPv6: public6})
	if err != nil {
		return nil, fmt.Errorf("find interface: %w", err)
	}
	made, err := backend.NewManager(ctx, manager, external).GetBackend(config.BackendType)
	if err != nil {
		return nil, fmt.Errorf("make backend %s: %w", config.BackendType, err)
	}
	network, err := made.RegisterNetwork(ctx, tasks, config)
	if err != nil {
		return nil, fmt.Errorf("register network: %w", err)
	}
	return network, nil
}

// setRules makes what pods send out of the cluster carry the node's address, and lets pods' packets be forwarded.
func setRules(ctx context.Context, config *subnet.Config, own *lease.Lease) error {
	if !config.EnableNFTables {
		return errors.New("set rules: only with EnableNFTables")
	}
	var rules trafficmngr.TrafficManager = new(nftables.NFTablesManager)
	if err := rules.Init(ctx); err != nil {
		return fmt.Errorf("make tables: %w", err)
	}
	// What was in force before only matters for iptables.
	err := rules.SetupAndEnsureMasqRules(ctx, config.Network, ip.IP4Net{}, ip.IP4Net{}, config.IPv6Network, ip.IP6Net{}, ip.IP6Net{},
		own, resync, false)
	if err != nil {
		return fmt.Errorf("masquerade: %w", err)
	}
	rules.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resync)
	return nil
}

// serve answers the kubelet's probes. It fails silently if the port is in use, and the probes then say so.
func serve(address string, ready *atomic.Bool) {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.ListenAndServe() }()
}
