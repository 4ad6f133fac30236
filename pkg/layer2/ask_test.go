package layer2

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/netif"
	"github.com/invar-lb/invar/pkg/responder"
)

// fakeCaller remembers what it was last asked for.
type fakeCaller struct {
	name   string
	asked  *string
	closed *[]string
}

func (c fakeCaller) Ask(addr, own netip.Addr) error {
	*c.asked = c.name + " " + addr.String() + " from " + own.String()
	return nil
}

func (c fakeCaller) Collect(answered func(netip.Addr)) { answered(netip.MustParseAddr("172.16.0.7")) }

func (c fakeCaller) Close() { *c.closed = append(*c.closed, c.name) }

func TestAsk(t *testing.T) {
	var asked string
	var closed []string
	inLab(t, Config{}, func(l *lab) {
		l.call = func(i responder.Interface) caller { return fakeCaller{i.Name, &asked, &closed} }
		l.put(eth(4, "eth2", "172.16.0.5/16", "2001:db8::5/64"))
		tests := []struct{ addr, want string }{
			{"172.16.0.7", "eth2 172.16.0.7 from 172.16.0.5"},
			{"::ffff:172.16.0.7", "eth2 172.16.0.7 from 172.16.0.5"},
			{"2001:db8::7", "eth2 2001:db8::7 from 2001:db8::5"},
			{"172.16.0.5", ""}, // its own
			{"203.0.113.9", ""},
		}
		for _, tt := range tests {
			asked = ""
			err := l.Ask(netip.MustParseAddr(tt.addr))
			if diff := cmp.Diff(tt.want, asked); diff != "" || (err != nil) != (tt.want == "") {
				t.Errorf("Ask(%s): %v (-want +got):\n%s", tt.addr, err, diff)
			}
		}
		var got []netip.Addr
		l.Collect(func(a netip.Addr) { got = append(got, a) })
		if len(got) != 1 {
			t.Errorf("collected %v", got)
		}
		l.change("eth2", func(i *netif.Interface) { i.Skip = netif.SkipNoCarrier })
		if err := l.Ask(netip.MustParseAddr("172.16.0.7")); err == nil {
			t.Error("asking through an interface without a link gives no error")
		}
		if diff := cmp.Diff([]string{"eth2"}, closed); diff != "" {
			t.Errorf("closed (-want +got):\n%s", diff)
		}
	})
}
