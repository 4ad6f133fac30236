// Package netif tells which network interfaces of this node can carry announcements, and when that changes.
//
// A [Watcher] reads all links and addresses through netlink, judges each interface, and hands over a whole [Snapshot]
// whenever it differs from the one before. It scans at once when the kernel reports a change, and slowly all the time in
// case a report was lost. Events about interfaces whose name is excluded (the virtual interfaces of pods, mostly) cause
// no scan, so that a busy node with hundreds of pods costs nothing.
//
// An interface is eligible if it is up, has a carrier, speaks Ethernet with ARP, is not a member of a bond, bridge or
// VRF, and its name is not excluded. It needs no address: bonds, bridges and VLAN interfaces often have none.
//
// [Neighbours] tells which hosts the kernel knows on a link.
//
// [Snapshot.Carriers] decides which of the eligible interfaces carry one address.
// [Snapshot.Abilities] is what other nodes must know to come to the same result: some hundred bytes at most, for the
// gossip. Names and subnets are all in it as a rule, whether a pool names them or not, so that nodes which don't know the
// same pools for a moment don't misjudge each other; only where that is too long, the pools decide what is left out.
package netif
