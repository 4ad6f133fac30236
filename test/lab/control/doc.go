// Package control describes the processes of the control plane host: etcd and Kubernetes' three servers, with the
// flags that matter and Kubernetes' defaults for all others. In particular the times after which a silent node is
// marked and its pods evicted are the defaults.
package control
