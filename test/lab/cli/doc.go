// Package cli is the command line of the lab: it parses, calls package cluster, and prints.
package cli
