// Package wire lays a lab's cables: a network namespace for every host and one for the switch, whose bridge joins
// them. It talks to the kernel through the `ip` command, so what it does can be read, and tested, as text. No
// interface ever appears in the machine's own namespace.
package wire
