// Package manifests checks what the project's files promise to a cluster: that manifests/invar.yaml decodes strictly,
// replaces a MetalLB in place, and asks for no more rights than the binaries use; and that the samples in
// config/samples are ConfigMaps that Invar reads.
package manifests
