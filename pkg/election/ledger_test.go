package election_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/invar-lb/invar/pkg/election"
)

func TestLedgerReceive(t *testing.T) {
	const x, y = "192.168.1.160", "192.168.1.161"
	tests := []struct {
		name      string
		known     []election.Claim
		received  []election.Claim
		tell      []election.Claim
		contested []netip.Addr
	}{
		{
			name:     "news are passed on",
			received: []election.Claim{claim(x, "node2", 1)},
			tell:     []election.Claim{claim(x, "node2", 1)},
		},
		{
			name:     "what is known is not",
			known:    []election.Claim{claim(x, "node2", 1)},
			received: []election.Claim{claim(x, "node2", 1)},
		},
		{
			name:     "nor what has been overtaken, if it is between others",
			known:    []election.Claim{claim(x, "node2", 2)},
			received: []election.Claim{claim(x, "node3", 1)},
		},
		{
			name:      "a peer that lost against this node hears of it",
			known:     []election.Claim{claim(x, "node1", 2)},
			received:  []election.Claim{claim(x, "node3", 1), claim(y, "node3", 1)},
			tell:      []election.Claim{claim(x, "node1", 2), claim(y, "node3", 1)},
			contested: []netip.Addr{addr(x)},
		},
		{
			name:     "the node's own earlier claim contests nothing",
			known:    []election.Claim{claim(x, "node1", 2)},
			received: []election.Claim{claim(x, "node1", 1)},
		},
		{
			name:     "a peer wins",
			known:    []election.Claim{claim(x, "node1", 2)},
			received: []election.Claim{claim(x, "node3", 3)},
			tell:     []election.Claim{claim(x, "node3", 3)},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := election.NewLedger("node1")
			l.Receive(tt.known)
			opts := []cmp.Option{cmpAddr, cmpopts.EquateEmpty()}
			if diff := cmp.Diff(tt.tell, l.Receive(tt.received), opts...); diff != "" {
				t.Errorf("told the peers (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.contested, l.Contested(), opts...); diff != "" {
				t.Errorf("contested (-want +got):\n%s", diff)
			}
			if again := l.Contested(); len(again) > 0 {
				t.Errorf("still contested when asked again: %v", again)
			}
		})
	}
}

func TestLedgerLists(t *testing.T) {
	l := election.NewLedger("node1")
	a, b, c := claim("10.0.0.3", "node1", 1), claim("10.0.0.2", "node2", 5), claim("10.0.0.1", "node1", 2)
	l.Receive([]election.Claim{a, b, c})
	if diff := cmp.Diff([]election.Claim{c, a, b}, l.All(), cmpAddr); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]election.Claim{c, a}, l.Own(), cmpAddr); diff != "" {
		t.Errorf("Own (-want +got):\n%s", diff)
	}
	l.Claims().Merge(claim("10.0.0.1", "node3", 9))
	if diff := cmp.Diff(c, l.Claims()[c.Addr], cmpAddr); diff != "" {
		t.Errorf("changed through a copy (-want +got):\n%s", diff)
	}
}

// TestLedgerDigest: nodes that have heard the same in different orders, or overtaken things as well, have the same digest.
func TestLedgerDigest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[uint64]election.Claims{0: {}}
	for range 2000 {
		var heard []election.Claim
		for range r.IntN(8) {
			a := netip.AddrFrom4([4]byte{192, 168, 1, byte(r.IntN(4))})
			heard = append(heard, election.Claim{Addr: a, Node: fmt.Sprintf("node%d", r.IntN(3)), Seq: r.Uint64N(3)})
		}
		l := election.NewLedger("node1")
		l.Receive(heard)
		r.Shuffle(len(heard), func(i, j int) { heard[i], heard[j] = heard[j], heard[i] })
		other := election.NewLedger("node2")
		for _, c := range heard {
			other.Receive([]election.Claim{c})
		}
		if l.Digest() != other.Digest() {
			t.Fatalf("digests %x and %x after the same claims", l.Digest(), other.Digest())
		}
		same, known := seen[l.Digest()]
		if known && !cmp.Equal(same, l.Claims(), cmpAddr) {
			t.Fatalf("one digest for %v and %v", same, l.Claims())
		}
		seen[l.Digest()] = l.Claims()
	}
}

func TestLedgerConcerns(t *testing.T) {
	const x, y, free = "192.168.1.160", "192.168.1.161", "192.168.1.162"
	l := election.NewLedger("node1")
	l.Receive([]election.Claim{claim(x, "node1", 2), claim(y, "node2", 2)})
	for _, tt := range []struct {
		name  string
		claim election.Claim
		want  bool
	}{
		{"a peer takes what the node holds", claim(x, "node2", 3), true},
		{"a peer tries to in vain", claim(x, "node2", 1), true},
		{"the node holds what it did not know of", claim(y, "node1", 3), true},
		{"the node's own claim again", claim(x, "node1", 2), false},
		{"a peer takes from another", claim(y, "node3", 3), false},
		{"a peer takes what nobody holds", claim(free, "node3", 1), false},
	} {
		if got := l.Concerns(tt.claim); got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestLedgerVain: what a node answered for while it was alone is announced again by those that hold it.
func TestLedgerVain(t *testing.T) {
	x, y, z, unheld := addr("10.0.0.1"), addr("10.0.0.2"), addr("10.0.0.3"), addr("10.0.0.4")
	claims := []election.Claim{claim("10.0.0.1", "node2", 1), claim("10.0.0.2", "node2", 7), claim("10.0.0.3", "node1", 3)}
	l, holder := election.NewLedger("node1"), election.NewLedger("node2")
	l.Receive(claims)
	holder.Receive(claims)
	vain := l.Vain([]netip.Addr{x, y, z, unheld})
	want := []election.Claim{claim("10.0.0.1", "node1", 0), claim("10.0.0.2", "node1", 6)}
	if diff := cmp.Diff(want, vain, cmpAddr); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	holder.Receive(vain)
	if diff := cmp.Diff(l.Claims(), holder.Claims(), cmpAddr); diff != "" {
		t.Errorf("the holder's claims (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff([]netip.Addr{x, y}, holder.Contested(), cmpAddr); diff != "" {
		t.Errorf("contested (-want +got):\n%s", diff)
	}
}
