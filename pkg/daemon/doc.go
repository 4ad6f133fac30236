// Package daemon is what the controller and the speaker have in common as processes: flags and environment, structured
// logs, the HTTP endpoint for metrics and probes, and a group of tasks that live and die together.
package daemon
