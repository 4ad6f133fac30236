// Package membership tells which speakers are alive and carries the claims between them.
//
// It is hashicorp/memberlist (SWIM with the Lifeguard extensions) with a profile for a LAN on which an answer takes well
// below a millisecond, see [Start]. Nothing goes through the Kubernetes API: with the API away, failures are still seen
// and addresses still move.
//
// Claims travel three ways: at once to each member by one datagram, then with the gossip, passed on by whoever learned
// something new from it, and in full whenever two members exchange their state, as they do when one joins. A lost
// datagram costs time, never agreement.
//
// Everything is encrypted and authenticated (AES-256-GCM) with a key derived from a Secret by [DeriveKey].
package membership
