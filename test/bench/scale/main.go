// Command scale measures what Invar costs in a large cluster, on a lab of its own, which it takes down at the end.
// `make bench-scale SERVICES=5000 NODES=200` builds what it needs.
//
// # What is real, and what is not
//
// etcd, kube-apiserver, kube-controller-manager and kube-scheduler are the lab's, the controller and three of the speakers run as
// pods on its three nodes. The other nodes are simulated: a Node object with the status of a real one, a Lease that is renewed and a
// status that is reported as often as a kubelet does. The DaemonSet's pods on them are made and bound by Kubernetes. Those of the first
// are run: the speaker's binary, with the pod's own arguments, environment and service account, in a network namespace with a cable to
// the lab's LAN. There is no kubelet that probes them and nobody who reads their metrics.
//
// A speaker takes a good part of a percent of a core at rest. On the nodes for which no processor is left one process answers for
// all: each has an address of its own on the LAN, and a real member of the gossip (pkg/membership) that says that its node is unable
// to announce. It answers, remembers and passes on what any member does. But it has no heartbeats of its own: hundreds of members in one
// process are slow at times, and would find each other dead. And it is served before all others. So the speakers have as many peers as
// there are nodes, look after all of them, and have more addresses each than they would have.
//
// The Services have no node ports, of which there are too few, no selector, since the controller manager makes 20 EndpointSlices in a
// second at most, and the label by which kube-proxy leaves them alone. Their EndpointSlices are made with them.
//
// It prints lines of JSON on stdout, one for each phase, and what it is doing on stderr. `phase` says what is going on; the figures are
// those of the phase.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// labName is the lab of the benchmark.
const labName = "benchscale"

// patience is how long all of it may take.
const patience = 20 * time.Minute

// options say how large the cluster is.
type options struct {
	services int           // of type LoadBalancer
	nodes    int           // the lab's included
	speakers int           // processes, the lab's included
	others   int           // Services of type ClusterIP
	churn    int           // updates of these Services' EndpointSlices in a second
	window   time.Duration // for which is measured what a phase costs that has no end
}

// What a lab has room for.
const (
	maxServices = 20000 // beside as many others, in a /16 of cluster IPs
	labNodes    = 3
	maxNodes    = labNodes + lastSimulated - firstSimulated // one address is the client's
)

func (o *options) check() error {
	var errs []error
	between := func(what string, n, least, most int) {
		if n < least || n > most {
			errs = append(errs, fmt.Errorf("%s is %d, want %d to %d", what, n, least, most))
		}
	}
	between("number of Services", o.services, 1, maxServices)
	between("number of other Services", o.others, 1, maxServices)
	between("number of nodes", o.nodes, labNodes+1, maxNodes)
	between("number of speakers", o.speakers, labNodes+1, o.nodes)
	between("updates in a second", o.churn, 1, 1000)
	if o.window < time.Second {
		errs = append(errs, fmt.Errorf("window is %s, want a second or more", o.window))
	}
	return errors.Join(errs...)
}

func main() {
	var o options
	flag.IntVar(&o.services, "services", 5000, "number of Services of type LoadBalancer")
	flag.IntVar(&o.nodes, "nodes", 200, "number of nodes, the lab's three included")
	flag.IntVar(&o.speakers, "speakers", 8, "number of speakers that run, at most; the other nodes only take part in the gossip")
	flag.IntVar(&o.others, "others", 0, "number of Services of type ClusterIP (default twice the others)")
	flag.IntVar(&o.churn, "churn", 50, "updates of their EndpointSlices in a second")
	flag.DurationVar(&o.window, "window", 20*time.Second, "length of the phases that have no end")
	stand := flag.Bool("stand-in", false, "take part in the gossip for nodes without a speaker; not for the command line")
	flag.Parse()
	o.speakers = min(o.speakers, o.nodes)
	o.others = cmp.Or(o.others, 2*o.services)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := o.run
	if *stand {
		run = standIn
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-scale:", err)
		os.Exit(1)
	}
}

// run measures on a lab of its own.
func (o *options) run(ctx context.Context) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	restore, err := roomForNeighbours(neighboursDir, o.nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not within %s", patience))
	defer cancel()
	return rig.Run(ctx, labName, rig.ManyAddresses, func(ctx context.Context, c *cluster.Cluster) (err error) {
		f, err := newFleet(ctx, c, *o)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.stop()) }()
		return measure(ctx, f)
	})
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-scale: "+format+"\n", args...)
}
