// Package netns gives tests real network links without touching the machine's.
//
// A package whose tests need links calls [Main] from its TestMain. As root, Main runs the test binary a second time inside
// a network namespace of its own, where all of its threads live, and which vanishes with the process. A test then calls
// [Require] and makes links there, with their far ends in a second namespace that acts as another host on the LAN.
//
// Without root the tests that call Require are skipped and say why. With INVAR_TEST_ROOT=1 in the environment a skip is a
// failure, so that a run that is meant to test everything can't pass by testing nothing. What the kernel itself lacks,
// VLANs for example, still leads to a skip then, unless INVAR_TEST_KERNEL=1 says that this kernel has it all.
package netns
