// Package responder answers ARP requests and IPv6 neighbour solicitations on one network interface, for addresses that
// the kernel knows nothing about.
//
// A [Responder] has a set of addresses, replaced as a whole by [Responder.Set]. It holds them, that is, answers and
// announces; or, if they are tentative, it only watches whether somebody else has them, and may ask by
// [Responder.Probe]. Frames are read from packet sockets,
// one for ARP and, while there is an IPv6 address, one for IPv6. An ordinary ICMPv6 socket would not do: it never sees a
// unicast solicitation for an address that the node doesn't own, and routers that verify a neighbour send just these.
//
// # A frame's way
//
// A classic BPF program in the kernel passes only requests for these addresses and what others say about them, so the
// rest of the LAN's traffic costs next to nothing; see filter.go. What passes is answered from an immutable snapshot by one map lookup: no lock, no
// allocation, no log line. The same checks are made once more there, since the filter may be coarser than the set, and a
// frame that is not answered is counted under a [Drop] reason.
//
// The hot path lays its bytes by hand, because the packages arp and ndp of mdlayher allocate for each message. The tests
// read what is sent with these packages and compare every byte with what they would have written.
//
// # Rules for ARP (RFC 826, RFC 5227)
//
// Answered is a request to the broadcast address or to the interface's own MAC, whatever the sender's IP address: also
// the probe of a host that has none yet (0.0.0.0). The reply goes to the MAC inside the request. A request whose sender
// is the asked address itself is no question but an announcement, and gets no reply.
//
// # Rules for NDP (RFC 4861, RFC 4862)
//
// Answered is a solicitation that arrives with hop limit 255 and a right checksum, sent to the address itself or to its
// solicited-node group, with or without a source link-layer option. The advertisement has the flags Solicited and
// Override. A solicitation from the unspecified address is duplicate address detection; it is answered to all nodes,
// with Override and without Solicited, and so the address is defended. Advertisements come from the held address, as
// from a node that owns it, so the interface needs no IPv6 address.
//
// # Who else has an address
//
// A [Sighting] is made of each frame in which somebody else says that it has an address of the set: an ARP packet of any
// operation with the address as its sender's (RFC 5227 section 2.4), or a valid neighbour advertisement of it. For a
// tentative address also of the question of somebody who would like to have it too: an ARP probe, or duplicate address
// detection. Who asks for a held address is answered; that is the defence. What this interface sent itself makes none,
// even if the network sends it back: it is known by its MAC, and a solicitation by its nonce as well (RFC 7527).
//
// Everybody on the LAN can say these things, as often as it likes. They are handed to Config.OnSighting one by one, and
// nothing is kept.
//
// # This node's own kernel
//
// The kernel of a node forwards what kube-proxy does not translate: when an address has moved here, what clients still send on their
// connections to the last holder. It forwards IPv6 packets to whom it takes for the neighbour, and sends the client a redirect with
// that neighbour's MAC (RFC 4861 section 8.2), which hosts obey. If that is the last holder, since the kernel does not hear what
// packet sockets of its own send, the client goes back to a dead node until the next announcement: for seconds, as the kernel repeats
// the redirect. So each neighbour advertisement is shown to the own kernel as well, before it is sent.
//
// # A process that stood still
//
// Questions wait in the sockets of a process that is frozen, and are read as soon as it goes on; by then another node may have the
// addresses. Config.Alive is asked last before anything is sent that says where an address is.
//
// # VLAN tags
//
// The kernel removes the tag of a frame and gives the frame to the VLAN's interface. If there is none, packet sockets of
// the parent see the frame without its tag, marked as meant for another host. The kernel filter refuses these. Frames
// tagged with VLAN 0 carry a priority only and count as untagged.
//
// # Failures
//
// A socket that fails is closed and opened again, with pauses that grow from 10 ms to 5 s. Sending never blocks: if the
// interface's queue is full the answer is dropped and counted, and the asker repeats its question.
package responder
