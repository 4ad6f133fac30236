// Package migrate turns the custom resources of MetalLB 0.13 and later into the configuration of Invar.
//
// IPAddressPool, L2Advertisement and the deprecated AddressPool become pools; what Invar has no counterpart for is named in
// [Result.Losses]: BGP, advertisements that differ by node or Service, and fields of versions that this package does not
// know. The shapes are those of MetalLB's api/v1beta1 as of version 0.16.
//
// The package is pure: it reads no file and imports no Kubernetes.
package migrate
