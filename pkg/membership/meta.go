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

// metaVersion is the first byte of an encoded Meta; a byte of flags follows, and then Carry. Versions up to metaCompatible begin like
// this one, so that speakers of two releases understand each other during a rollout: they may add flags, and say what is more in the
// report. One that takes a greater number breaks with that.
const (
	metaVersion    = 2
	metaCompatible = 31
)

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

// decodeMeta reads what encodeMeta wrote, here or in a later version. Flags that this one does not know are ignored.
func decodeMeta(b []byte) (Meta, error) {
	if len(b) < 2 {
		return Meta{}, errTruncated
	}
	if b[0] < metaVersion || b[0] > metaCompatible {
		return Meta{}, fmt.Errorf("metadata has version %d, want %d to %d", b[0], metaVersion, metaCompatible)
	}
	has := func(flag byte) bool { return b[1]&flag != 0 }
	return Meta{
		Announcing: has(flagAnnouncing), Draining: has(flagDraining), Observer: has(flagObserver), Carry: string(b[2:]),
	}, nil
}
