// Package ipvs tests Invar beside kube-proxy's IPVS mode, which gives the address of every Service to an interface of every
// node. It needs a kernel with IPVS, but no cluster: the tests configure two nodes as kube-proxy does.
package ipvs
