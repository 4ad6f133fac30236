package wire

import (
	"fmt"
	"slices"
	"strings"

	"github.com/invar-lb/invar/test/lab/plan"
)

// sysctls are set in a namespace before it gets any interface, so that interfaces are born with the defaults.
type sysctls []struct{ name, value string }

// quiet keeps IPv6 addresses usable from the first moment and made by nobody but the lab.
var quiet = sysctls{
	{"net/ipv6/conf/all/accept_dad", "0"},
	{"net/ipv6/conf/default/accept_dad", "0"},
	{"net/ipv6/conf/default/dad_transmits", "0"},
	{"net/ipv6/conf/all/accept_ra", "0"},
	{"net/ipv6/conf/default/accept_ra", "0"},
}

// routing completes forwarding for a node and its pods. Traffic between two pods of one node crosses only the CNI bridge, and
// kube-proxy must see it all the same.
var routing = sysctls{
	{"net/bridge/bridge-nf-call-iptables", "1"},
	{"net/bridge/bridge-nf-call-ip6tables", "1"},
}

// forwarding makes a router. It knows no networks but its own two, so it answers everything else with "unreachable", at once.
var forwarding = sysctls{
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv6/conf/all/forwarding", "1"},
	{"net/ipv6/conf/default/forwarding", "1"},
}

// switching keeps netfilter away from the frames that pass the switch.
var switching = sysctls{
	{"net/bridge/bridge-nf-call-iptables", "0"},
	{"net/bridge/bridge-nf-call-ip6tables", "0"},
	{"net/bridge/bridge-nf-call-arptables", "0"},
}

func sysctlsOf(h plan.Host) sysctls {
	switch h.Role {
	case plan.Node:
		return slices.Concat(quiet, forwarding, routing)
	case plan.Router:
		return slices.Concat(quiet, forwarding)
	}
	return quiet
}

// addNamespaces is the `ip -batch` text that makes all namespaces.
func addNamespaces(lab plan.Lab) string {
	lines := []string{"netns add " + lab.SwitchNetns()}
	for _, h := range lab.Hosts() {
		lines = append(lines, "netns add "+h.Netns)
	}
	return text(lines)
}

// switchScript is the text for the switch's namespace: a bridge for the LAN and one for the network behind the router, and
// a cable to every host. The bridges forward at once (no spanning tree, no delay) and flood multicast like a plain switch.
func switchScript(lab plan.Lab) string {
	lines := []string{"link set lo up"}
	for _, bridge := range []string{plan.Bridge, plan.FarBridge} {
		lines = append(lines, addBridge(bridge)...)
	}
	for _, h := range lab.Hosts() {
		bridge := plan.Bridge
		if h.Role == plan.Outside {
			bridge = plan.FarBridge
		}
		lines = append(lines, cable(h.Port, bridge, plan.Interface+" address "+h.MAC, h.Netns)...)
	}
	return text(append(lines, cable(plan.FarPort, plan.FarBridge, plan.FarInterface, lab.Router().Netns)...))
}

// addBridge makes a bridge without an address of its own.
func addBridge(name string) []string {
	return []string{
		"link add " + name + " type bridge stp_state 0 forward_delay 0 mcast_snooping 0 " +
			"nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0",
		"link set " + name + " addrgenmode none up",
	}
}

// partitionScript is the text that moves the ports of hosts to a bridge of their own.
func partitionScript(hosts []plan.Host) string {
	lines := addBridge(plan.OtherBridge)
	for _, h := range hosts {
		lines = append(lines, "link set "+h.Port+" master "+plan.OtherBridge)
	}
	return text(lines)
}

// uniteScript is the text that moves all ports back.
func uniteScript(lab plan.Lab) string {
	var lines []string
	for _, h := range lab.Hosts() {
		if h.Role != plan.Outside {
			lines = append(lines, "link set "+h.Port+" master "+plan.Bridge)
		}
	}
	return text(append(lines, "link del "+plan.OtherBridge))
}

// cable joins a port of a bridge to an interface of a host.
func cable(port, bridge, ifi, netns string) []string {
	return []string{
		fmt.Sprintf("link add %s type veth peer name %s netns %s", port, ifi, netns),
		fmt.Sprintf("link set %s addrgenmode none master %s up", port, bridge),
	}
}

// hostScript is the text for a host's namespace: addresses, and routes to the pods of the nodes. Who is not part of the
// cluster gets no such routes. The default route is what lets a node's own processes send to a
// cluster IP: the kernel looks for a route before kube-proxy's rules see the packet.
func hostScript(lab plan.Lab, h plan.Host) string {
	lines := append([]string{"link set lo up"}, address(plan.Interface, h.IPv4.String(), h.IPv6.String())...)
	switch h.Role {
	case plan.Router:
		return text(append(lines, address(plan.FarInterface, plan.FarGatewayV4, plan.FarGatewayV6)...))
	case plan.Outside:
		return text(append(lines, "route add default via "+plan.FarGatewayV4, "route add default via "+plan.FarGatewayV6))
	}
	lines = append(lines, "route add default via "+plan.GatewayV4, "route add default via "+plan.GatewayV6)
	// Flannel makes the nodes' routes. The control plane, which is no node, needs some to reach webhooks.
	if h.Role == plan.Client || h.Role == plan.Node && lab.Flannel() {
		return text(lines)
	}
	for _, n := range lab.NodeHosts() {
		if n.Name != h.Name {
			lines = append(lines,
				fmt.Sprintf("route add %s via %s", n.PodsV4, n.IPv4),
				fmt.Sprintf("route add %s via %s", n.PodsV6, n.IPv6))
		}
	}
	return text(lines)
}

// address sets an interface up with an address of each family.
func address(ifi, v4, v6 string) []string {
	return []string{
		"link set " + ifi + " up",
		fmt.Sprintf("addr add %s/%d dev %s", v4, plan.LANv4Bits, ifi),
		fmt.Sprintf("addr add %s/%d dev %s nodad", v6, plan.LANv6Bits, ifi),
	}
}

// masquerade is the nft text for a node: what pods send to the LAN carries the node's address, as with flannel. What
// stays inside of the cluster is left alone.
func masquerade() string {
	return fmt.Sprintf(`table inet lab {
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr %[1]s ip daddr != %[1]s masquerade
		ip6 saddr %[2]s ip6 daddr != %[2]s masquerade
	}
}
`, plan.PodsV4, plan.PodsV6)
}

func text(lines []string) string { return strings.Join(lines, "\n") + "\n" }
