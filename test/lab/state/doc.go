// Package state remembers what a lab has made on the machine, so that any later command, also after a crash, knows
// what is there. The file is replaced atomically; what is about to be made is written down before it is made.
package state
