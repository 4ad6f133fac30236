// Package page is the status page that the controller serves beside its JSON state: pools, who announces which address, the
// last moves, conflicts and the configuration, in one small page that asks for the state every other second.
//
// The page is three files that are part of the binary. It loads nothing from elsewhere, and its Content-Security-Policy keeps it
// from doing so. It is served on the loopback interface only, by a handler that refuses other names than the loopback's, so that
// whoever sees it may port-forward to the controller's pod.
package page
