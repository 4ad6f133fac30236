package doctor

import (
	"time"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/ipam"
)

// Facts are what is known of a cluster. What could not be learnt has its zero value, and no check concludes anything from that.
type Facts struct {
	ConfigMap     string         // "namespace/name"
	Config        *config.Config // nil if there is none, or none without mistakes
	ConfigErr     error          // what is wrong with it
	Nodes         []Node
	IgnoreExclude bool // speakers run with --ignore-exclude-lb
	LBClass       string
	PodRanges     []Range // of nodes
	ServiceRanges []Range
	Used          []Range // single addresses of pods, Services and interfaces of nodes
	KubeProxy     KubeProxy
	Workloads     []Workload // everything that may be a load balancer, Invar itself included
	Wishes        []Wish
	Speakers      []Speaker
	Controllers   []Controller
	// PodsUnknown: Speakers and Controllers could not be listed. FlagsUnknown: the flags they run with could not be read.
	PodsUnknown, FlagsUnknown bool
	Version                   string // of the tool that asks
	Kubernetes                string // version of the API server, "v1.37.2"
	// Unlearnt are things that could not be learnt and that no other field shows to be missing, each with the reason.
	Unlearnt []string
}

// Node is a node of the cluster.
type Node struct {
	Name               string
	Labels             map[string]string
	Excluded           bool // label node.kubernetes.io/exclude-from-external-load-balancers
	NetworkUnavailable bool
}

// Range is some addresses and what has them, for example "node node1".
type Range struct {
	ipam.Range
	What string
}

// KubeProxy is how kube-proxy is configured.
type KubeProxy struct {
	Source    string // where that was read; empty: it was not found
	Mode      string // iptables, ipvs, nftables; empty: the default
	StrictARP bool
}

// Workload is a Deployment, a DaemonSet, a static pod, or an object that makes one of these serve Services.
type Workload struct {
	Name   string // "DaemonSet kube-system/kube-vip-ds"
	Labels map[string]string
	Images []string
	Env    map[string]string // with plain values, of all containers
	Class  string            // value of its flag --lb-class
	Own    bool              // it is this installation of Invar
}

// Wish is a Service that names the node to announce from.
type Wish struct{ Service, Node string }

// Speaker is a pod that announces.
type Speaker struct {
	Pod, Node string
	Ready     bool
	State     *explain.SpeakerState // nil if it could not be had: Failure says why
	Failure   string
	// Asked and Answered are the tool's clock before and after the state was made.
	Asked, Answered time.Time
}

// Controller is a pod that gives addresses.
type Controller struct {
	Pod     string
	Ready   bool
	State   *explain.ControllerState // nil if it could not be had: Failure says why
	Failure string
}
