// Package cgroup makes, freezes, empties and removes the cgroup of a lab's host. Everything that runs on a host is
// below that cgroup: its daemons in the child "system", its pods where kubelet puts them. So the cgroup is what finds
// container shims and pods again after a crash, whatever became of their parents.
//
// Both cgroup v1 (one directory per controller) and v2 (a single directory) are handled; a directory is a directory.
package cgroup
