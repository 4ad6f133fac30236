// Package component holds the programs of others that are linked into the lab: etcd, the five of Kubernetes, kubectl.
package component
