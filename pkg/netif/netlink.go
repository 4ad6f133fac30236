package netif

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// event is a change that the kernel reported.
type event struct {
	index int
	// link is what the event says about the link itself; nil if it is about addresses or the link's removal.
	link *link
	// moved: the link is the same, but sits behind another switch port now (IFLA_EVENT of a bond or a migrated guest).
	moved bool
	// removed: the link is gone.
	removed bool
}

// subscription delivers events until it fails or is closed.
type subscription interface {
	next() ([]event, error)
	close()
}

// source is where a Watcher reads; the kernel but for tests.
type source interface {
	links() ([]link, error)
	prefixes() (map[int][]netip.Prefix, error)
	subscribe() (subscription, error)
}

// kernel is the source in the network namespace of the process.
type kernel struct{}

// receiveBuffer is the size of the subscription's socket buffer in bytes. A node that starts a hundred pods at once
// sends some thousand events of 1-2 kB. If it overflows all the same, the kernel says so and the watcher scans.
const receiveBuffer = 4 << 20

// dumpTries bounds how often a dump is repeated that was interrupted by a change (NLM_F_DUMP_INTR).
const dumpTries = 5

func (kernel) links() ([]link, error) {
	var msgs [][]byte
	err := retryDump(func() (err error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		msgs, err = req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	out := make([]link, 0, len(msgs))
	for _, m := range msgs {
		l, _, err := parseLink(m)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (kernel) prefixes() (map[int][]netip.Prefix, error) {
	var addrs []netlink.Addr
	err := retryDump(func() (err error) {
		addrs, err = netlink.AddrList(nil, netlink.FAMILY_ALL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	out := make(map[int][]netip.Prefix)
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		bits, _ := a.Mask.Size()
		out[a.LinkIndex] = append(out[a.LinkIndex], netip.PrefixFrom(ip.Unmap(), bits))
	}
	for _, prefixes := range out {
		slices.SortFunc(prefixes, netip.Prefix.Compare)
	}
	return out, nil
}

// retryDump repeats a dump during which the kernel's table changed. A table that never holds still is returned as it is:
// the events about its changes cause another scan.
func retryDump(dump func() error) error {
	for range dumpTries {
		err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return nil
}

// parseLink reads a link message, and from its IFLA_EVENT whether the link moved to another switch port.
func parseLink(msg []byte) (l link, moved bool, err error) {
	parsed, err := netlink.LinkDeserialize(nil, msg)
	if err != nil {
		return link{}, false, fmt.Errorf("parse link: %w", err)
	}
	a := parsed.Attrs()
	l = link{
		index: a.Index, name: a.Name, mac: a.HardwareAddr, ethernet: a.EncapType == "ether",
		flags: a.RawFlags, master: a.MasterIndex,
	}
	if a.NetNsID < 0 { // otherwise it is the index of an interface elsewhere
		l.parent = a.ParentIndex
	}
	attrs, err := nl.ParseRouteAttr(msg[unix.SizeofIfInfomsg:])
	if err != nil {
		return link{}, false, fmt.Errorf("parse link attributes: %w", err)
	}
	for _, attr := range attrs {
		if len(attr.Value) < 4 {
			continue
		}
		value := nl.NativeEndian().Uint32(attr.Value)
		switch attr.Attr.Type {
		case unix.IFLA_CARRIER_UP_COUNT:
			l.carrier = value
		case unix.IFLA_EVENT:
			moved = value == unix.IFLA_EVENT_BONDING_FAILOVER || value == unix.IFLA_EVENT_NOTIFY_PEERS
		}
	}
	return l, moved, nil
}

// socket is the kernel's subscription.
type socket struct{ s *nl.NetlinkSocket }

func (kernel) subscribe() (subscription, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return nil, fmt.Errorf("subscribe to netlink: %w", err)
	}
	// Without CAP_NET_ADMIN the size is cut to net.core.rmem_max, which will do.
	if err := s.SetReceiveBufferSize(receiveBuffer, false); err != nil {
		s.Close()
		return nil, fmt.Errorf("size netlink buffer: %w", err)
	}
	return socket{s}, nil
}

func (s socket) close() { s.s.Close() }

func (s socket) next() ([]event, error) {
	msgs, from, err := s.s.Receive()
	if err != nil {
		return nil, fmt.Errorf("receive from netlink: %w", err)
	}
	// Another process of the node may send to this socket; only the kernel's word counts.
	if from.Pid != nl.PidKernel {
		return nil, nil
	}
	var out []event
	for _, m := range msgs {
		e, ok, err := parseEvent(m.Header.Type, m.Data)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, e)
		}
	}
	return out, nil
}

// parseEvent reads one message; ok is false for those that say nothing about interfaces.
func parseEvent(msgType uint16, data []byte) (e event, ok bool, err error) {
	switch msgType {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(data) < unix.SizeofIfInfomsg {
			return event{}, false, fmt.Errorf("parse link: %d bytes", len(data))
		}
		// A bridge reports its ports in the same group, under its own family. The port's membership comes with a message
		// of the general family as well.
		if data[0] != unix.AF_UNSPEC {
			return event{}, false, nil
		}
		l, moved, err := parseLink(data)
		if err != nil {
			return event{}, false, err
		}
		if msgType == unix.RTM_DELLINK {
			return event{index: l.index, removed: true}, true, nil
		}
		return event{index: l.index, link: &l, moved: moved}, true, nil
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		if len(data) < unix.SizeofIfAddrmsg {
			return event{}, false, fmt.Errorf("parse address: %d bytes", len(data))
		}
		return event{index: int(nl.NativeEndian().Uint32(data[4:8]))}, true, nil
	}
	return event{}, false, nil
}
