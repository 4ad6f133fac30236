// Command licences lists the licences of the Go modules that are linked into the project's binaries, for all architectures that
// have images. It finds them in the modules' own files, and fails at a module whose licence it does not know for sure.
//
//	licences -dir ROOT -o THIRD_PARTY.md                 writes the table
//	licences -dir ROOT -o THIRD_PARTY.md -check          fails if the table is out of date
//	licences -dir ROOT -texts bin/THIRD_PARTY.txt        writes the texts, which go into the image
package main
