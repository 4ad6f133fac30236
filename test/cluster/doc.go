// Package cluster is how the demo and the end-to-end tests use a lab: kubectl and the API as an administrator has them, and
// frames and connections as a host on the LAN sees them.
package cluster
