// Command enforcer enforces NetworkPolicies on one node of a lab, whose own network does not: it is kube-router's firewall
// (github.com/cloudnativelabs/kube-router, what `kube-router --run-firewall` runs) without its other parts. It needs iptables and
// ipset, and runs in the node's network namespace.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "`path` of a kubeconfig")
	node := flag.String("node", "", "`name` of the node")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *node); err != nil {
		fmt.Fprintln(os.Stderr, "enforcer:", err)
		os.Exit(1)
	}
}

// run enforces until ctx is done, and then takes away what it has made.
func run(ctx context.Context, kubeconfig, node string) error {
	rest, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	config := options.NewKubeRouterConfig()
	config.EnableIPv4, config.RunFirewall, config.HostnameOverride = true, true, node
	config.ClusterIPCIDRs = []string{"10.96.0.0/16"}
	iptables, ipsets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods().Informer(), factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	var lock sync.Mutex
	c, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &lock, iptables, ipsets)
	if err != nil {
		return err
	}
	for inf, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: c.PodEventHandler, namespaces: c.NamespaceEventHandler, policies: c.NetworkPolicyEventHandler,
	} {
		if _, err := inf.AddEventHandler(handler); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), pods.HasSynced, namespaces.HasSynced, policies.HasSynced) {
		return errors.New("interrupted")
	}
	health := make(chan *healthcheck.ControllerHeartbeat, 10)
	go func() {
		for range health {
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	c.Run(health, ctx.Done(), &running)
	running.Wait()
	c.Cleanup()
	return nil
}
