// Package explain has what speakers and controller say of themselves, as JSON on their loopback interface, and makes of it what
// a user wants to know: why a Service has no address, who announces it, why no other node does.
//
//	SpeakerState of each node, ControllerState, what Kubernetes says -> Why, Status: values to print or to encode
//
// What the controller decides for a Service is here, too ([Applicant.Decide]), so that [Predict] tells what another
// configuration would do by the same code.
//
// The package is pure. It decides what is said; how it looks is for the printing side to say.
package explain
