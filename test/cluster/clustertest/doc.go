// Package clustertest is what tests on a lab have in common: Invar installed as a user would, Services made and removed with the
// test, waiting for what must come true, and outages measured from a host on the LAN.
package clustertest
