package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// Interviewer asks for many addresses, by ARP and NDP, each once in an interval. Like an Asker it is a host of its own behind
// another host's cable. It does not listen: a [Recorder] hears questions and answers.
type Interviewer struct {
	mac    net.HardwareAddr
	v4, v6 netip.Addr
	conn   *packet.Conn
	stop   chan struct{}
	worker sync.WaitGroup

	mu    sync.Mutex
	addrs []netip.Addr
}

// Interview starts an Interviewer behind a host's cable. Its MAC and its addresses end in number, which is nobody else's.
func (c *Cluster) Interview(host string, number byte, interval time.Duration) (*Interviewer, error) {
	h, mac, err := c.hostAndMAC(host)
	if err != nil {
		return nil, err
	}
	v4, v6 := h.IPv4.As4(), h.IPv6.As16()
	mac[5], v4[3], v6[15] = number, number, number
	v6[14] = 0xff // clear of the hosts', which repeat the decimal digits
	i := &Interviewer{mac: mac, v4: netip.AddrFrom4(v4), v6: netip.AddrFrom16(v6), stop: make(chan struct{})}
	err = c.Do(host, func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		i.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_LOOPBACK, nil) // hears nothing that occurs
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", host, err)
	}
	i.worker.Go(func() { i.work(interval) })
	return i, nil
}

// MAC is where answers go.
func (i *Interviewer) MAC() MAC { return MAC(i.mac) }

// Want adds an address to those that are asked for.
func (i *Interviewer) Want(addr netip.Addr) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !slices.Contains(i.addrs, addr) {
		i.addrs = append(i.addrs, addr)
	}
}

func (i *Interviewer) work(interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-i.stop:
			return
		case <-tick.C:
		}
		i.mu.Lock()
		addrs := slices.Clone(i.addrs)
		i.mu.Unlock()
		for _, addr := range addrs {
			// A question that can't be sent, on a cable that is cut, is not recorded either.
			_ = i.ask(addr)
		}
	}
}

func (i *Interviewer) ask(addr netip.Addr) error {
	if addr.Is4() {
		return ask(i.conn, &net.Interface{HardwareAddr: i.mac}, i.v4, addr)
	}
	to, frame, err := solicitation(i.mac, i.v6, addr)
	if err != nil {
		return err
	}
	_, err = i.conn.WriteTo(frame, &packet.Addr{HardwareAddr: to})
	return err
}

// solicitation makes a neighbour solicitation for an address, as a host sends it that has never heard of it (RFC 4861 section
// 7.2.2), and returns where it goes.
func solicitation(mac net.HardwareAddr, from, addr netip.Addr) (to net.HardwareAddr, frame []byte, err error) {
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return nil, nil, err
	}
	icmp, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{
		TargetAddress: addr, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac}},
	}, from, group)
	if err != nil {
		return nil, nil, err
	}
	header := []byte{ipv6.Version << 4, 0, 0, 0, 0, byte(len(icmp)), icmp6, 255}
	payload := slices.Concat(header, from.AsSlice(), group.AsSlice(), icmp)
	g := group.As16()
	to = net.HardwareAddr{0x33, 0x33, g[12], g[13], g[14], g[15]}
	frame, err = (&ethernet.Frame{
		Destination: to, Source: mac, EtherType: ethernet.EtherTypeIPv6, Payload: payload,
	}).MarshalBinary()
	return to, frame, err
}

// Stop ends the asking.
func (i *Interviewer) Stop() error {
	close(i.stop)
	i.worker.Wait()
	return i.conn.Close()
}
