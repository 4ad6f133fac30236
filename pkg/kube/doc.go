// Package kube is the border to Kubernetes: the informers with just what Invar reads, and the translation of
// API objects into plain structs. Nothing behind it looks at an annotation or a condition itself.
package kube
