// Package command runs the short-lived programs of the machine that the lab needs (ip, nft, ctr, go), and waits for
// them. A program does not outlive the lab command that runs it, so nothing is still being made when a lab that was
// interrupted is taken down.
package command
