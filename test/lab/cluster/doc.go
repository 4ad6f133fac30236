// Package cluster brings whole labs up and takes them down. Bringing up is a straight line:
//
//	preflight -> state file -> wires -> certificates and configuration -> control plane -> nodes -> images -> Ready
//
// What is about to be made is written to the state file first, and everything a lab makes carries the lab's name, so
// Down finds all of it, whatever has crashed when.
package cluster
