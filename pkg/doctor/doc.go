// Package doctor finds what is wrong with a cluster for Invar: settings of the cluster, the nodes and the LAN that keep an address
// from being given, announced or reached, or that make two answer for it.
//
// [Facts] are collected by the caller; [Examine] is a list of checks, each a function from the facts to findings. On a healthy
// cluster there is none.
//
// The package is pure: it imports no Kubernetes, starts no goroutine and reads no clock.
package doctor
