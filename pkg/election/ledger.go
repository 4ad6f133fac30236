package election

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// Ledger is what one node knows of the claims, and the rules by which nodes exchange them. It is not safe for concurrent
// use.
type Ledger struct {
	node      string
	claims    Claims
	sum       uint64 // of the claims' digests
	contested map[netip.Addr]bool
}

// NewLedger returns the empty Ledger of a node.
func NewLedger(node string) *Ledger {
	return &Ledger{node: node, claims: Claims{}, contested: map[netip.Addr]bool{}}
}

// Claims returns a copy of the winning claims.
func (l *Ledger) Claims() Claims { return maps.Clone(l.claims) }

// Holder returns the node that holds addr by the winning claim, empty if there is none.
func (l *Ledger) Holder(addr netip.Addr) string { return l.claims[addr].Node }

// All returns the winning claims, those of one node together: what two nodes tell each other when they meet.
func (l *Ledger) All() []Claim {
	return slices.SortedFunc(maps.Values(l.claims), func(a, b Claim) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), a.Addr.Compare(b.Addr))
	})
}

// Digest returns a number that tells the claims of two nodes apart: it is the same if they know the same, in whatever order they have
// heard it, and otherwise almost certainly another.
func (l *Ledger) Digest() uint64 { return l.sum }

// merge is [Claims.Merge], and keeps the sum.
func (l *Ledger) merge(c Claim) (won bool) {
	old, had := l.claims[c.Addr]
	if !l.claims.Merge(c) {
		return false
	}
	if had {
		l.sum -= old.digest()
	}
	l.sum += c.digest()
	return true
}

// Own returns the winning claims of the node itself: what a peer must hear that may have missed them.
func (l *Ledger) Own() []Claim {
	var own []Claim
	for _, c := range l.claims { // sorted after that: of thousands few are the node's own, and each that joins is told
		if c.Node == l.node {
			own = append(own, c)
		}
	}
	slices.SortFunc(own, func(a, b Claim) int { return a.Addr.Compare(b.Addr) })
	return own
}

// Receive takes claims in, from the node itself or a peer, and returns what the peers should hear in turn: those that are
// news, and the node's own where a peer thought that it had won over them.
func (l *Ledger) Receive(claims []Claim) (tell []Claim) {
	for _, c := range claims {
		if l.merge(c) {
			tell = append(tell, c)
		} else if own := l.claims[c.Addr]; own.Node == l.node && c.Node != own.Node {
			l.contested[c.Addr] = true
			tell = append(tell, own)
		}
	}
	return tell
}

// Vain returns claims of the node for those of addrs that another one holds, which lose against that one's. Who receives them for an
// address that it holds announces that again: see [Ledger.Contested].
func (l *Ledger) Vain(addrs []netip.Addr) (claims []Claim) {
	for _, addr := range addrs {
		if c := l.claims[addr]; c.Seq > 0 && c.Node != l.node {
			claims = append(claims, Claim{Addr: addr, Node: l.node, Seq: c.Seq - 1})
		}
	}
	return claims
}

// Concerns reports whether c says of an address that the node holds that another one does, or the other way round. If c is
// received the node may have to act at once: to fall silent, to say again that it is the holder, or to answer.
func (l *Ledger) Concerns(c Claim) bool {
	return (l.claims[c.Addr].Node == l.node) != (c.Node == l.node)
}

// Contested returns the addresses held by the node that a peer has claimed in vain since the last call. Some hosts may
// have heard that peer's announcement last, after a partition for example: they are to be announced again.
func (l *Ledger) Contested() []netip.Addr {
	addrs := slices.SortedFunc(maps.Keys(l.contested), netip.Addr.Compare)
	clear(l.contested)
	return addrs
}
