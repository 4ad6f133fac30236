// Package ext is what Traefik's configuration embeds for those who extend it. Traefik's repository has it as a module of
// its own, which no release carries; here nothing is extended.
package ext

// HTTP extends the HTTP configuration by nothing.
type HTTP struct{}

// Router extends a router by nothing.
type Router struct{}
