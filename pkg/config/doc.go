// Package config reads the text of the ConfigMap into checked pools.
//
// The text is that of MetalLB 0.8 to 0.12, strict YAML 1.1, plus optional keys for what later versions can do. [Parse]
// reports every mistake of a text at once, each with its path, line, column, value and what is allowed.
//
// Invar works in Layer 2 only. The BGP parts of a text (pools of protocol bgp, peers, bgp-communities, bfd-profiles)
// are checked, reported and left out; the layer2 pools of the same text serve.
//
// The package is pure: it reads no file and imports no Kubernetes.
package config
