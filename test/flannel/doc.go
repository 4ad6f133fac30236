// Command flannel is flannel's daemon, as a pod network for the lab. Flannel's own command does not build from its module alone,
// because of backends for clouds; this one has the backends that kubeadm's users have, vxlan and host-gw.
//
// It also does the work of flannel's CNI plugin, which is a module of its own: it writes a configuration for the bridge plugin, with
// the subnet that was leased. Pods are then on a bridge cni0, and reach other nodes by flannel.1, as with the plugin.
package main
