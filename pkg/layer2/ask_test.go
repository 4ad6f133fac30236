package layer2

import (
	"errors"
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
			{"2001:db8::7%eth2", "eth2 2001:db8::7 from 2001:db8::5"},
			{"2001:db8::7%eth0", ""},
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

func TestBystanders(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.put(eth(4, "eth2", "172.16.0.5/16"))
		tables := map[int][]netif.Neighbour{}
		l.neighbours = func(index int) ([]netif.Neighbour, error) {
			if index == 4 {
				return nil, errors.New("interrupted")
			}
			return tables[index], nil
		}
		add := func(host string, mac MAC) {
			tables[2] = append(tables[2], netif.Neighbour{Addr: netip.MustParseAddr(host), MAC: mac})
		}
		l.SetPeers(map[MAC]string{{2, 9}: "node2"})
		add("192.168.1.12", MAC{2, 9})
		add("192.168.1.10", l.interfaces["eth0"].MAC)
		if got := l.Bystanders(); len(got) > 0 {
			t.Errorf("this node or a peer is none of the others: %v", got)
		}
		add("fe80::1", MAC{2, 7})
		if got := l.Bystanders(); len(got) != 1 || got[0].String() != "fe80::1%eth0" {
			t.Errorf("a link-local one is %v", got)
		}
		clear(tables)
		for i := range byte(20) {
			add(netip.AddrFrom4([4]byte{192, 168, 1, 100 - i}).String(), MAC{2, 8, i})
		}
		got := l.Bystanders()
		if want := netip.MustParseAddr("192.168.1.93"); len(got) != maxBystanders || got[0] != want {
			t.Errorf("got %v, want %d from %v on, those known last", got, maxBystanders, want)
		}
	})
}

// TestAsked: a question for one address counts for those that it is among.
func TestAsked(t *testing.T) {
	inLab(t, Config{}, func(l *lab) {
		l.Set(map[netip.Addr]Announcement{vip: {Quiet: true}, other: {Quiet: true}})
		l.responders["eth0"].held[vip].Counter.Requests.Add(1)
		for _, tt := range []struct {
			addrs []netip.Addr
			want  bool
		}{{nil, false}, {[]netip.Addr{other, remote}, false}, {[]netip.Addr{other, vip}, true}} {
			if got := l.Asked(tt.addrs); got != tt.want {
				t.Errorf("Asked(%v) = %v", tt.addrs, got)
			}
		}
	})
}
