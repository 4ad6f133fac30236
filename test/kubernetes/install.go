package main

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"

	"github.com/invar-lb/invar/test/cluster"
)

// dns is CoreDNS as a Service at the address that the lab's pods have as their resolver.
//
//go:embed coredns.yaml
var dns string

// outside is an address of the client in a network of its own. The suite takes all of 192.168.0.0/16, around the nodes'
// addresses, for the cluster's: what it sees come from there has lost its source, it says.
const outside = "172.31.0.1"

// install puts Invar on the lab as a user would, with the sample configuration, and what the suite expects of a cluster.
func (s suite) install(ctx context.Context, lab *cluster.Cluster) error {
	for _, image := range []string{"agnhost.tar", "coredns.tar"} {
		if err := lab.Lab(ctx, "load", filepath.Join(s.folder, image)); err != nil {
			return err
		}
	}
	for _, file := range []string{"manifests/invar.yaml", "config/samples/layer2.yaml"} {
		if err := lab.Apply(ctx, file); err != nil {
			return err
		}
	}
	if err := lab.ApplyText(ctx, dns); err != nil {
		return err
	}
	for _, what := range [][]string{
		{cluster.Namespace, "deployment/controller"}, {cluster.Namespace, "daemonset/speaker"}, {"kube-system", "deployment/coredns"},
	} {
		if err := lab.Rollout(ctx, what[0], what[1]); err != nil {
			return err
		}
	}
	if err := freePorts(lab); err != nil {
		return err
	}
	return moveOut(ctx, lab)
}

// freePorts lets the client's kernel choose ports freely. Most of them are reserved for a Prober, which is not used here, and the
// suite opens a hundred connections a second to one address.
func freePorts(lab *cluster.Cluster) error {
	return lab.Do(cluster.Client, func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_reserved_ports", []byte("\n"), 0o644)
	})
}

// moveOut gives the client the address outside, and makes it the one that it asks from. The nodes know it to be behind the
// client's other address, as behind a router.
func moveOut(ctx context.Context, lab *cluster.Cluster) error {
	client, err := lab.Host(cluster.Client)
	if err != nil {
		return err
	}
	ip := func(host string, args ...string) error {
		_, err := lab.Run(ctx, host, "ip", args...)
		return err
	}
	if err := ip(cluster.Client, "address", "replace", outside+"/32", "dev", "lo"); err != nil {
		return err
	}
	for _, host := range append(lab.Nodes(), cluster.Host{Name: "control-plane"}) {
		if err := ip(host.Name, "route", "replace", outside+"/32", "via", client.IPv4.String()); err != nil {
			return err
		}
	}
	return ip(cluster.Client, "route", "replace", "192.168.1.0/24", "dev", "eth0", "src", outside)
}
