// Package proc starts the lab's processes detached from the command that starts them, inside the network namespace,
// mount namespace and cgroups of their host, and finds and ends exactly those again. A process is known by its id and
// the time it started, so an id that the kernel has given to somebody else is never signalled.
package proc
