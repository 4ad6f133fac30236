// Package explain tells a Service's user what becomes of the Service, and why: what it is given and what it waits for, and what
// another configuration would change.
//
// What the controller does and what a plan predicts is decided here, by the same functions.
//
// The package is pure: it imports no Kubernetes, starts no goroutine and reads no clock.
package explain
