package wire

import (
	"fmt"
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

// routing makes a node a router for its pods. Traffic between two pods of one node crosses only the CNI bridge, and
// kube-proxy must see it all the same.
var routing = sysctls{
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv6/conf/all/forwarding", "1"},
	{"net/ipv6/conf/default/forwarding", "1"},
	{"net/bridge/bridge-nf-call-iptables", "1"},
	{"net/bridge/bridge-nf-call-ip6tables", "1"},
}

// switching keeps netfilter away from the frames that pass the switch. The switch is the LAN's router too: it knows no
// network but the LAN, so it answers everything else with "unreachable", at once.
var switching = sysctls{
	{"net/ipv4/ip_forward", "1"},
	{"net/ipv6/conf/all/forwarding", "1"},
	{"net/bridge/bridge-nf-call-iptables", "0"},
	{"net/bridge/bridge-nf-call-ip6tables", "0"},
	{"net/bridge/bridge-nf-call-arptables", "0"},
}

func sysctlsOf(h plan.Host) sysctls {
	if h.Role == plan.Node {
		return append(append(sysctls{}, quiet...), routing...)
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

// switchScript is the text for the switch's namespace: the bridge, and a cable to every host. The bridge forwards at
// once (no spanning tree, no delay) and floods multicast like a plain switch. It carries the router's addresses.
func switchScript(lab plan.Lab) string {
	lines := []string{
		addBridge(plan.Bridge),
		"link set lo up",
		"link set " + plan.Bridge + " address " + plan.GatewayMAC + " up",
		fmt.Sprintf("addr add %s/%d dev %s", plan.GatewayV4, plan.LANv4Bits, plan.Bridge),
		fmt.Sprintf("addr add %s/%d dev %s nodad", plan.GatewayV6, plan.LANv6Bits, plan.Bridge),
	}
	for _, h := range lab.Hosts() {
		lines = append(lines,
			fmt.Sprintf("link add %s type veth peer name %s address %s netns %s", h.Port, plan.Interface, h.MAC, h.Netns),
			fmt.Sprintf("link set %s addrgenmode none master %s up", h.Port, plan.Bridge))
	}
	return text(lines)
}

func addBridge(name string) string {
	return "link add " + name + " type bridge stp_state 0 forward_delay 0 mcast_snooping 0 " +
		"nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 0"
}

// partitionScript is the text that moves the ports of hosts to a bridge of their own.
func partitionScript(hosts []plan.Host) string {
	lines := []string{addBridge(plan.OtherBridge), "link set " + plan.OtherBridge + " addrgenmode none up"}
	for _, h := range hosts {
		lines = append(lines, "link set "+h.Port+" master "+plan.OtherBridge)
	}
	return text(lines)
}

// uniteScript is the text that moves all ports back.
func uniteScript(lab plan.Lab) string {
	var lines []string
	for _, h := range lab.Hosts() {
		lines = append(lines, "link set "+h.Port+" master "+plan.Bridge)
	}
	return text(append(lines, "link del "+plan.OtherBridge))
}

// hostScript is the text for a host's namespace: addresses, and routes to the pods of the nodes. The client, which is
// not part of the cluster, gets no such routes. The default route is what lets a node's own processes send to a
// cluster IP: the kernel looks for a route before kube-proxy's rules see the packet.
func hostScript(lab plan.Lab, h plan.Host) string {
	lines := []string{
		"link set lo up",
		"link set " + plan.Interface + " up",
		fmt.Sprintf("addr add %s/%d dev %s", h.IPv4, plan.LANv4Bits, plan.Interface),
		fmt.Sprintf("addr add %s/%d dev %s nodad", h.IPv6, plan.LANv6Bits, plan.Interface),
		"route add default via " + plan.GatewayV4,
		"route add default via " + plan.GatewayV6,
	}
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
