package layer2

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/invar-lb/invar/pkg/netif"
)

// TestAbilities: peers come to the same result as the node itself, also when a responder has failed.
func TestAbilities(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		check := func(what string) {
			t.Helper()
			text, err := l.Abilities(nil, nil).MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			a, err := ParseAbilities(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, addr := range []netip.Addr{vip, remote, vip6, netip.MustParseAddr("10.1.1.1")} {
				for _, allowed := range [][]string{nil, {"eth0"}, {"eth1"}, {"eth1", "eth2"}} {
					want, _ := l.CanCarry(addr, Announcement{Interfaces: allowed})
					if got := a.CanCarry(addr, allowed); got != want {
						t.Errorf("%s: CanCarry(%v, %q) = %v, want %v", what, addr, allowed, got, want)
					}
				}
			}
		}
		check("two interfaces")
		l.fail("eth0", errors.New("operation not permitted"))
		check("eth0 failed")
		l.change("eth1", func(i *netif.Interface) { i.Skip = netif.SkipNoCarrier })
		check("eth1 is without carrier, too")
		l.fail("eth0", nil)
		check("eth0 works again")
		l.stop()
		check("not running")
		l.run()
	})
}
