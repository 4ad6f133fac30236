package membership

import "fmt"

// Meta is what a speaker tells its peers about itself. It travels with memberlist's own messages, so a peer knows it as
// soon as it knows the speaker, and with the speaker's report, so a change reaches every peer at once. It has to be small: see
// [MaxCarry].
type Meta struct {
	// Announcing reports that the speaker is able to answer: its sockets are open on some interface.
	Announcing bool
	// Draining reports that the speaker is about to leave and wants to be relieved of its addresses.
	Draining bool
	// Observer marks a member that only listens: the controller.
	Observer bool
	// Carry says which addresses the node's interfaces can carry, in a form that is none of this package's business.
	Carry string
}

// MaxCarry is the greatest length of Meta.Carry, in bytes. memberlist's limit for all of Meta is 512, and a report that carries
// it has to fit in a datagram.
const MaxCarry = 400

// metaVersion is the first byte of an encoded Meta; a byte of flags follows, and then Carry.
const metaVersion = 2

const (
	flagAnnouncing = 1 << iota
	flagDraining
	flagObserver
)

func encodeMeta(m Meta) []byte {
	var flags byte
	for _, f := range []struct {
		set  bool
		flag byte
	}{{m.Announcing, flagAnnouncing}, {m.Draining, flagDraining}, {m.Observer, flagObserver}} {
		if f.set {
			flags |= f.flag
		}
	}
	return append([]byte{metaVersion, flags}, m.Carry...)
}

// decodeMeta reads what encodeMeta wrote. Flags that a later version may have added are ignored.
func decodeMeta(b []byte) (Meta, error) {
	if len(b) < 2 {
		return Meta{}, errTruncated
	}
	if b[0] != metaVersion {
		return Meta{}, fmt.Errorf("metadata has version %d, want %d", b[0], metaVersion)
	}
	has := func(flag byte) bool { return b[1]&flag != 0 }
	return Meta{
		Announcing: has(flagAnnouncing), Draining: has(flagDraining), Observer: has(flagObserver), Carry: string(b[2:]),
	}, nil
}
