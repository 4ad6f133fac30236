// Package api is the daemons' access to the API server: a [Client] for the few types of objects that they use, and Events.
package api
