// Package imports enforces the shape of the project: which package may import which, what keeps the pure packages pure,
// and a few rules that no linter in use knows. The table in table.go is the authority; a new package gets a row there.
//
// Rules are about ordinary files. A _test.go file may import what it likes, but may have no init function either.
package imports
