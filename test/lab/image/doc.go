// Package image makes container images without a registry or an image builder, from Go programs of this module.
package image
