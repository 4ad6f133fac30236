// Package arp measures what it costs to answer ARP: `make bench-arp` prints one line of JSON. All of it is a test, for only
// tests can have the links of [github.com/invar-lb/invar/test/netns]; hack/bench-arp.sh runs it, and without that script it
// makes a few rounds, to see that it still works.
//
// A Responder runs in a process of its own, as it does in a speaker, with the same settings of Go's runtime: the defaults. It
// holds a thousand addresses, on one end of a veth pair. At the other end, in another network namespace, is the client.
//
// # Time to answer
//
// The client asks and waits, thousands of times, in turn for an address that the Responder holds and for one that is the
// kernel's own on the same interface. Rounds alternate, so that whatever the machine does meanwhile is done to both. The
// client blocks while it waits, as a host does, and its own system calls and its waking are part of each figure. The kernel
// answers in the middle of the client's system call and wakes nobody. A process has to be woken, and has to wake the client;
// so a bare loop, the least that a program can do, is measured beside it, in a process of its own.
//
// # Cost of foreign frames
//
// The client broadcasts requests for addresses of other hosts, 50 in every millisecond. Nearly all that the Responder costs
// then is its socket's filter, which runs in the kernel. Over a veth pair the kernel delivers a frame to the other end before
// the client's system call returns: writing raises a soft interrupt, which is served on the same CPU as soon as the frame is
// handed over, in the client's thread. That thread doesn't sleep during a burst. So the time of a burst is CPU time, and has
// all that the frames cost in the kernel, whatever the kernel's way of accounting for interrupts; bursts in which the thread
// was put aside stand out and are not in the median. What goes on to the Responder itself is CPU time of its process, which
// is added.
//
// Sending costs many times as much as the filter. Therefore there are two cables, one with a Responder and one without. Each
// millisecond has a burst on either, in an order that alternates, and the difference of the two counts: its median over thousands
// of them. Then the Responder moves to the other cable and all is done again, and the mean of the two medians is the result.
//
// A socket whose filter passes nothing is measured too. It shows what the kernel takes for having to show a frame to anybody
// beside itself; the rest is the Responder's. So is a socket without a filter, read with the library that others use: that is what
// the filter saves.
package arp
