// Package monitoring checks config/monitoring: that the dashboard and the alert rules use only metrics and labels that the
// daemons have, that each query finds something, that each alert fires when it should and not otherwise, and that all of it has
// the form that Grafana and the Prometheus Operator read. It is a module of its own, which keeps Prometheus's and Grafana's
// modules out of the project's.
package monitoring
