package membership

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/election"
)

func TestRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, three := key(t, "one"), key(t, "two"), key(t, "three")
		k, err := newKeys(one)
		if err != nil {
			t.Fatal(err)
		}
		m := &Members{keys: k}
		want := func(when string, keys ...[]byte) { // the one that encrypts comes first
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(keys, k.ring.GetKeys()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		rotate := func(key []byte) {
			t.Helper()
			if err := m.Rotate(key); err != nil {
				t.Fatal(err)
			}
		}
		rotate(one)
		want("the same key", one)
		rotate(two)
		want("a new key", one, two)
		rotate(two)
		time.Sleep(rotateUse)
		want("it is in use", two, one)
		rotate(three)
		time.Sleep(rotateForget - rotateUse)
		want("another one follows before the first is forgotten", three, two, one)
		time.Sleep(rotateUse)
		want("in the end", three)
		if err := m.Rotate([]byte("short")); err == nil {
			t.Error("a key of the wrong length is accepted")
		}
		want("a key of the wrong length", three)
		if err := m.Follow(nil); err != nil {
			t.Error(err)
		}
		want("the Secret is gone", three)
		if err := m.Follow([]byte("two")); err != nil {
			t.Error(err)
		}
		want("the Secret is another one", three, two)
		k.stop()
	})
}

// TestRotatedMembersUnderstandEachOther lets one of two members have the new key before the other.
func TestRotatedMembersUnderstandEachOther(t *testing.T) {
	a, b := start(t, "node1", key(t, "one")), start(t, "node2", key(t, "one"))
	if _, err := a.Join([]netip.AddrPort{b.Addr()}); err != nil {
		t.Fatal(err)
	}
	two := key(t, "two")
	for _, s := range []*speaker{a, b} {
		if err := s.Rotate(two); err != nil {
			t.Fatal(err)
		}
	}
	a.keys.use(two) // as if its ten seconds had passed
	claims := []election.Claim{
		{Addr: netip.MustParseAddr("192.168.1.160"), Node: "node1", Seq: 1},
		{Addr: netip.MustParseAddr("192.168.1.161"), Node: "node2", Seq: 1},
	}
	a.Claim(claims[:1])
	b.Claim(claims[1:])
	for _, s := range []*speaker{a, b} {
		s.eventually(t, "both claims", func() bool { return len(s.Claims()) == 2 })
	}
	late := start(t, "node3", two)
	b.keys.use(two)
	if n, err := late.Join([]netip.AddrPort{a.Addr(), b.Addr()}); n != 2 {
		t.Errorf("one that has only the new key joins %d of two: %v", n, err)
	}
}
