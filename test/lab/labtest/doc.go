// Package labtest helps the tests of the lab's packages.
package labtest
