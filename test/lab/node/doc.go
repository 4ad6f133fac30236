// Package node describes a lab's node: the private mount namespace that gives it directories of its own at the usual
// places, and the configuration of containerd, its CNI plugins, kubelet and kube-proxy. Inside of the node every path
// is the one that a manifest for a real node expects (/var/lib/kubelet, /var/log/pods, /run/containerd).
package node
