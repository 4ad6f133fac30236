package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
)

// Addresses that every lab uses. Labs do not see each other, so they may all use the same ones.
const (
	// LANv4Bits and LANv6Bits are the prefix lengths of the LAN.
	LANv4Bits, LANv6Bits = 24, 64
	// GatewayV4 and GatewayV6 are the router on the LAN, FarGatewayV4 and FarGatewayV6 the same on the network behind it,
	// which has the LAN's prefix lengths. It leads nowhere else.
	GatewayV4, GatewayV6       = "192.168.1.1", "fd00:1::1"
	FarGatewayV4, FarGatewayV6 = "192.168.2.1", "fd00:2::1"
	// PodsV4 and PodsV6 hold the pod ranges of all nodes.
	PodsV4, PodsV6 = "10.244.0.0/16", "fd00:10:244::/48"
	// ServicesV4 and ServicesV6 are the ranges of cluster IPs.
	ServicesV4, ServicesV6 = "10.96.0.0/16", "fd00:96::/112"
	// APIServiceV4 and APIServiceV6 are the cluster IPs of Service default/kubernetes: the first of each range.
	APIServiceV4, APIServiceV6 = "10.96.0.1", "fd00:96::1"
	// DNSService is the cluster IP that pods use as their resolver.
	DNSService = "10.96.0.10"
	// APIPort is where kube-apiserver listens on the control plane host.
	APIPort = 6443
	// MaxNodes keeps the nodes' addresses clear of the client's, which is .100.
	MaxNodes = 80
	// Interface is the name of every host's LAN interface, FarInterface that of the router's other one.
	Interface, FarInterface = "eth0", "eth1"
	// Bridge is the name of the switch's bridge, FarBridge that of the network behind the router.
	Bridge, FarBridge = "lan", "far"
	// FarPort is the router's port on FarBridge.
	FarPort = "p-far"
	// OtherBridge is the name of the bridge that hosts are on which a partition has split off.
	OtherBridge = "lan2"
)

// Role says what a host is for.
type Role string

// The roles of a lab's hosts.
const (
	ControlPlane Role = "control-plane" // etcd and the Kubernetes control plane; no kubelet
	Node         Role = "node"          // kubelet, containerd, kube-proxy
	Client       Role = "client"        // on the LAN, not in the cluster
	Router       Role = "router"        // between the LAN and the network behind it
	Outside      Role = "outside"       // a client on the network behind the router
)

// Host is one machine of the lab.
type Host struct {
	Name   string
	Role   Role
	Netns  string // name of the network namespace, as `ip netns` shows it
	Port   string // the host's port on the switch: the other end of its cable
	MAC    string
	IPv4   netip.Addr
	IPv6   netip.Addr
	PodsV4 netip.Prefix // nodes only
	PodsV6 netip.Prefix // nodes only
	Cgroup string       // cgroup of all the host's processes, without leading slash
}

// Lab is a whole lab. Make one with New.
type Lab struct {
	Name      string
	Nodes     int
	ProxyMode string // kube-proxy's --proxy-mode
	Options
}

// Options are what a lab has only if it is asked for.
type Options struct {
	// PodNetwork is one of PodNetworks; empty: the first.
	PodNetwork string `json:"podNetwork,omitempty"`
	// Audit is the namespace whose service accounts kube-apiserver keeps an audit log of, in AuditLog; empty: none.
	Audit string `json:"audit,omitempty"`
	// FeatureGates is kube-apiserver's --feature-gates.
	FeatureGates string `json:"featureGates,omitempty"`
}

// nameForm leaves out the dash: it separates the lab's name from the host's in the names of namespaces and cgroups,
// so no lab's names can be mistaken for another's. Short, because unix socket paths end at 107 bytes.
var nameForm = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)

// ProxyModes are the values of ProxyMode that kube-proxy knows on Linux.
func ProxyModes() []string { return []string{"nftables", "iptables", "ipvs"} }

// New checks the parameters of a lab.
func New(name string, nodes int, proxyMode string) (Lab, error) {
	if err := CheckName(name); err != nil {
		return Lab{}, err
	}
	if nodes < 1 || nodes > MaxNodes {
		return Lab{}, fmt.Errorf("check number of nodes: %d is not between 1 and %d", nodes, MaxNodes)
	}
	if !slices.Contains(ProxyModes(), proxyMode) {
		return Lab{}, fmt.Errorf("check proxy mode: %q is not one of %v", proxyMode, ProxyModes())
	}
	return Lab{Name: name, Nodes: nodes, ProxyMode: proxyMode}, nil
}

// PodNetworks are the values of PodNetwork: the CNI bridge plugin with static routes between the nodes, and flannel.
func PodNetworks() []string { return []string{"bridge", "flannel"} }

// With returns the lab with options.
func (l Lab) With(o Options) (Lab, error) {
	o.PodNetwork = cmp.Or(o.PodNetwork, PodNetworks()[0])
	if !slices.Contains(PodNetworks(), o.PodNetwork) {
		return Lab{}, fmt.Errorf("check pod network: %q is not one of %v", o.PodNetwork, PodNetworks())
	}
	l.Options = o
	return l, nil
}

// Flannel reports whether flannel is the pod network, and not the lab's own bridges and routes.
func (l Lab) Flannel() bool { return l.PodNetwork == "flannel" }

// CheckName reports whether a lab may be called name.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("check lab name: %q does not match %s", name, nameForm)
	}
	return nil
}

// Hosts lists all hosts: the control plane, the nodes in order, the client, the router and who is behind it.
func (l Lab) Hosts() []Host {
	hosts := []Host{l.ControlPlane()}
	hosts = append(hosts, l.NodeHosts()...)
	return append(hosts, l.Client(), l.Router(), l.Outside())
}

// ControlPlane is the host that runs Kubernetes' own servers.
func (l Lab) ControlPlane() Host { return l.host("control-plane", ControlPlane, 10) }

// Client is the host that is on the LAN and not in the cluster.
func (l Lab) Client() Host { return l.host("client", Client, 100) }

// Router is the host that joins the LAN and the network behind it.
func (l Lab) Router() Host { return l.host("router", Router, 1) }

// Outside is the client on the network behind the router. Its addresses are the LAN client's, in that network.
func (l Lab) Outside() Host {
	h := l.host("outside", Outside, 100)
	h.MAC = "02:42:c0:a8:02:64"
	h.IPv4, h.IPv6 = netip.MustParseAddr("192.168.2.100"), netip.MustParseAddr("fd00:2::100")
	return h
}

// NodeHosts lists the nodes, node1 first.
func (l Lab) NodeHosts() []Host {
	var nodes []Host
	for n := 1; n <= l.Nodes; n++ {
		h := l.host(fmt.Sprintf("node%d", n), Node, 10+n)
		h.PodsV4 = netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", n))
		h.PodsV6 = netip.MustParsePrefix(fmt.Sprintf("fd00:10:244:%d::/64", n))
		nodes = append(nodes, h)
	}
	return nodes
}

// Host finds a host by name.
func (l Lab) Host(name string) (Host, error) {
	for _, h := range l.Hosts() {
		if h.Name == name {
			return h, nil
		}
	}
	return Host{}, fmt.Errorf("find host: lab %s has no host %q", l.Name, name)
}

// host fills in what follows from name and number. The IPv6 address repeats the decimal digits of the IPv4 one, so
// that a human sees that they belong together.
func (l Lab) host(name string, role Role, number int) Host {
	return Host{
		Name:   name,
		Role:   role,
		Netns:  l.Name + "-" + name,
		Port:   "p-" + name,
		MAC:    fmt.Sprintf("02:42:c0:a8:01:%02x", number),
		IPv4:   netip.AddrFrom4([4]byte{192, 168, 1, byte(number)}),
		IPv6:   netip.MustParseAddr(fmt.Sprintf("fd00:1::%d", number)),
		Cgroup: "lab-" + l.Name + "-" + name,
	}
}

// SwitchNetns is the namespace with the bridge that joins all hosts.
func (l Lab) SwitchNetns() string { return l.Name + "-switch" }

// OwnsNetns reports whether a namespace of that name belongs to this lab, whatever its number of nodes.
func (l Lab) OwnsNetns(name string) bool { return owned(l.Name + "-").MatchString(name) }

// OwnsCgroup reports whether a top-level cgroup of that name belongs to this lab, whatever its number of nodes.
func (l Lab) OwnsCgroup(name string) bool { return owned("lab-" + l.Name + "-").MatchString(name) }

func owned(prefix string) *regexp.Regexp {
	return regexp.MustCompile("^" + prefix + `(switch|control-plane|client|router|outside|node[0-9]+)$`)
}

// NetnsPath is the file that stands for a network namespace.
func NetnsPath(name string) string { return filepath.Join("/run/netns", name) }

// Base directories of all labs. RunBase is for sockets, state and logs; DataBase for what needs a real disk.
const (
	RunBase  = "/run/invar-lab"
	DataBase = "/var/lib/invar-lab"
)

// RunDir holds the lab's state, sockets, configuration and logs.
func (l Lab) RunDir() string { return filepath.Join(RunBase, l.Name) }

// DataDir holds the lab's bulky data: etcd, images and containers. Overlayfs must be able to sit on it.
func (l Lab) DataDir() string { return filepath.Join(DataBase, l.Name) }

// HostDir holds the configuration and credentials of one host.
func (l Lab) HostDir(h Host) string { return filepath.Join(l.RunDir(), h.Name) }

// HostData holds the bulky data of one host.
func (l Lab) HostData(h Host) string { return filepath.Join(l.DataDir(), h.Name) }

// Kubeconfig is the administrator's kubeconfig, for use outside of the lab's namespaces.
func (l Lab) Kubeconfig() string { return filepath.Join(l.RunDir(), "kubeconfig") }

// KubectlCache is where the built-in kubectl keeps what it has found out about the cluster's API.
func (l Lab) KubectlCache() string { return filepath.Join(l.RunDir(), "kubectl-cache") }

// LogFile is where a process of the lab writes its output.
func (l Lab) LogFile(process string) string { return filepath.Join(l.RunDir(), "logs", process+".log") }

// AuditLog is where kube-apiserver writes its audit log.
func (l Lab) AuditLog() string { return l.LogFile("audit") }

// HostProcess is the name of a process that each node has one of.
func HostProcess(component string, h Host) string { return component + "-" + h.Name }

// Program is the lab's own copy of the lab binary, so that rebuilding it does not pull it from under a running lab.
func (l Lab) Program() string { return filepath.Join(l.DataDir(), "lab") }

// StateFile is where the lab remembers itself.
func (l Lab) StateFile() string { return filepath.Join(l.RunDir(), "state.json") }

// LockFile keeps two commands from changing one lab at the same time. It lies outside of RunDir, which goes away.
func (l Lab) LockFile() string { return filepath.Join(RunBase, l.Name+".lock") }
