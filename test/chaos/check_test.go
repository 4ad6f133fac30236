package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/invar-lb/invar/test/cluster"
)

// The history of the tests: one Service, whose address node1 answers for, is asked for by the client and the control plane every
// 40 ms for a minute, and connected to every 50 ms. Nothing goes wrong.
var (
	vip, other = netip.MustParseAddr("192.168.1.160"), netip.MustParseAddr("192.168.1.161")

	nodes = []Host{
		{"node1", "node1", cluster.MAC{2, 0, 0, 0, 0, 1}},
		{"node2", "node2", cluster.MAC{2, 0, 0, 0, 0, 2}},
		{"node3", "node3", cluster.MAC{2, 0, 0, 0, 0, 3}},
	}
	client  = Host{cluster.Client, cluster.Client, cluster.MAC{2, 0, 0, 0, 0, 254}}
	control = Host{controlPlane, controlPlane, cluster.MAC{2, 0, 0, 0, 0, 253}}
)

const minute = time.Minute

// ms is a time in milliseconds.
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// story makes a history.
type story struct {
	History
	holders []holding
}

// holding says that a node answers for vip in a time.
type holding struct {
	node     string
	from, to int // ms
	observer string
}

// quiet is a minute in which nothing happens.
func quiet() *story {
	return &story{
		History: History{
			Nodes: nodes, Observers: []Host{client, control}, End: minute,
			Changes: []Change{{At: 0, Service: "web", UID: "1", Addrs: []netip.Addr{vip}, Local: true}},
		},
		holders: []holding{{node: "node1", to: 60_000}},
	}
}

// history fills in the frames.
func (s *story) history() *History {
	h := s.History
	for at := time.Duration(0); at < minute; at += askInterval {
		for _, o := range h.Observers {
			h.Frames = append(h.Frames, Frame{At: at, Port: o.Port, Question: true, MAC: o.MAC, Addr: vip})
			for _, held := range s.holders {
				if held.observer != "" && held.observer != o.Name || at < ms(held.from) || at >= ms(held.to) {
					continue
				}
				i := slices.IndexFunc(nodes, func(n Host) bool { return n.Name == held.node })
				h.Frames = append(h.Frames, Frame{At: at + ms(1), Port: held.node, To: o.MAC, MAC: nodes[i].MAC, Addr: vip})
			}
		}
	}
	return &h
}

// fault adds a fault that begins at 20 s and is undone at 30 s.
func (s *story) fault(f Fault) {
	f.Number = len(s.Faults) + 1
	f.Begin, f.Injected, f.Heal, f.Undone, f.Ready = ms(20_000), ms(20_100), ms(30_000), ms(30_100), ms(31_000)
	s.Faults = append(s.Faults, f)
}

func (s *story) attempts(from, to int, err string) {
	for at := from; at < to; at += 50 {
		s.Attempts = append(s.Attempts, Attempt{At: ms(at), Target: "web", Addr: vip, Err: err, Reset: err == "reset"})
	}
}

// part has the LAN fall apart from 20 to 30 s. node3 answers in the smaller part, which the client is in, from then on.
func (s *story) part(from int) {
	s.fault(Fault{Kind: "partition", Apart: []string{"node1", "node2"}})
	s.holders = []holding{
		{node: "node1", to: 20_000},
		{node: "node1", from: 20_000, to: 60_000, observer: controlPlane},
		{node: "node3", from: from, to: 30_000, observer: cluster.Client},
		{node: "node1", from: 30_000, to: 60_000, observer: cluster.Client},
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name  string
		story func(*story)
		want  []string // what is said of each violation in part
	}{
		{"nothing happens", func(*story) {}, nil},

		// At least one.
		{"silence", func(s *story) {
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 20_400, to: 60_000}}
		}, []string{"nobody answered client", "nobody answered control-plane"}},
		{"nobody asks", func(s *story) {
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "two", UID: "2", Addrs: []netip.Addr{other}})
		}, []string{"nobody asked for 192.168.1.161 of two"}},
		{"silence as short as noise", func(s *story) {
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 20_200, to: 60_000}}
		}, nil},
		{"silence to the end", func(s *story) { s.holders[0].to = 40_000 }, []string{"nobody answered client", "nobody answered control-plane"}},
		{"silence from the start", func(s *story) { s.holders[0].from = 10_000 }, []string{"nobody answered client", "nobody answered control-plane"}},
		{"silence while the machine paused", func(s *story) {
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 20_400, to: 60_000}}
			s.Pauses = []Pause{{At: ms(20_000), Lost: ms(300)}}
		}, nil},
		{"silence after a pause that was too long ago", func(s *story) {
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 20_400, to: 60_000}}
			s.Pauses = []Pause{{At: ms(18_000), Lost: ms(300)}}
		}, []string{"nobody answered client", "nobody answered control-plane"}},
		{"silence after many pauses at once", func(s *story) {
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 21_000, to: 60_000}}
			for range 10 {
				s.Pauses = append(s.Pauses, Pause{At: ms(20_000), Lost: ms(300)})
			}
		}, []string{"nobody answered client", "nobody answered control-plane"}},
		{"failover in time", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node1"})
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node2", from: 20_300, to: 60_000}}
		}, nil},
		{"failover too late", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node1"})
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node2", from: 22_000, to: 60_000}}
		}, []string{"nobody answered client", "nobody answered control-plane"}},
		{"no failover", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node1"})
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 30_100, to: 60_000}}
		}, []string{"nobody answered client", "nobody answered control-plane"}},
		{"silence of a node that is not hit", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node2"})
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 20_400, to: 60_000}}
		}, []string{"nobody answered client", "nobody answered control-plane"}},
		{"silence with the API server away", func(s *story) {
			s.fault(Fault{Kind: "apiserver-kill"})
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node1", from: 20_400, to: 60_000}}
		}, []string{"nobody answered client", "nobody answered control-plane"}},
		{"a part of a split LAN loses sight", func(s *story) { s.part(22_500) }, nil},
		{"the greater part of a split LAN is late", func(s *story) {
			s.fault(Fault{Kind: "partition", Apart: []string{"node1", controlPlane}})
			s.holders = []holding{
				{node: "node1", to: 60_000, observer: controlPlane},
				{node: "node1", to: 20_000, observer: cluster.Client},
				{node: "node2", from: 22_000, to: 60_000, observer: cluster.Client},
			}
		}, []string{"nobody answered client"}},

		// At most one.
		{"two answer", func(s *story) {
			s.holders = append(s.holders, holding{node: "node2", from: 40_000, to: 41_000})
		}, []string{"both answered client", "both answered control-plane", "without a cause", "without a cause"}},
		{"two answer for a moment when a node is back", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node1"})
			s.holders = []holding{
				{node: "node1", to: 20_000}, {node: "node2", from: 20_200, to: 60_000}, {node: "node1", from: 30_040, to: 30_400},
			}
		}, []string{"moved from node2 to node1 without", "moved from node2 to node1 without"}},
		{"two answer for long when a node is back", func(s *story) {
			s.fault(Fault{Kind: "speaker-freeze", Node: "node1"})
			s.holders = []holding{
				{node: "node1", to: 20_000}, {node: "node2", from: 22_000, to: 60_000}, {node: "node1", from: 30_000, to: 33_000},
			}
		}, []string{"both answered client", "both answered control-plane", "moved from node2 to node1", "moved from node2 to node1"}},
		{"another MAC", func(s *story) {
			s.Frames = []Frame{{At: ms(100), Port: "node2", To: client.MAC, MAC: nodes[0].MAC, Addr: vip}}
		}, []string{"behind the port of node2"}},

		// Without a cause.
		{"a move for nothing", func(s *story) {
			s.holders = []holding{{node: "node1", to: 40_000}, {node: "node2", from: 40_000, to: 60_000}}
		}, []string{"as client saw", "as control-plane saw"}},
		{"a move when the machine had paused", func(s *story) {
			s.holders = []holding{{node: "node1", to: 40_000}, {node: "node2", from: 40_000, to: 60_000}}
			s.Pauses = []Pause{{At: ms(39_000), Lost: ms(100)}}
		}, nil},
		{"a node that returns takes its address back", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node1"})
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node2", from: 20_300, to: 30_500}, {node: "node1", from: 30_500, to: 60_000}}
		}, []string{"moved from node2 to node1", "moved from node2 to node1"}},
		{"a rollout", func(s *story) {
			s.fault(Fault{Kind: "speaker-rollout"})
			s.holders = []holding{{node: "node1", to: 25_200}, {node: "node2", from: 25_000, to: 60_000}}
		}, nil},
		{"a rollout with a gap", func(s *story) {
			s.fault(Fault{Kind: "speaker-rollout"})
			s.holders = []holding{{node: "node1", to: 25_000}, {node: "node2", from: 25_500, to: 60_000}}
		}, []string{"nobody answered client", "nobody answered control-plane"}},

		// Services.
		{"the address changes", func(s *story) {
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "web", UID: "1", Addrs: []netip.Addr{other}})
			s.holders[0].to = 42_000
		}, []string{"had [192.168.1.160] and has [192.168.1.161]", "nobody asked for 192.168.1.161"}},
		{"the address is lost", func(s *story) {
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "web", UID: "1"})
			s.holders[0].to = 42_000
		}, []string{"had [192.168.1.160] and has []"}},
		{"two own it", func(s *story) {
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "thief", UID: "2", Addrs: []netip.Addr{vip}})
		}, []string{"belonged to Services web and thief"}},
		{"two share it", func(s *story) {
			s.Changes[0].Sharing = "key"
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "friend", UID: "2", Addrs: []netip.Addr{vip}, Sharing: "key"})
		}, nil},
		{"two share it with different keys", func(s *story) {
			s.Changes[0].Sharing = "key"
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "friend", UID: "2", Addrs: []netip.Addr{vip}, Sharing: "lock"})
		}, []string{"belonged to Services web and friend"}},
		{"another has it afterwards", func(s *story) {
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "web", UID: "1", Addrs: []netip.Addr{vip}, Deleted: true},
				Change{At: ms(40_100), Service: "heir", UID: "2", Addrs: []netip.Addr{vip}})
		}, nil},
		{"no address", func(s *story) {
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "poor", UID: "2"})
		}, []string{"poor had no address"}},
		{"no address as long as there are no pools", func(s *story) {
			s.fault(Fault{Kind: "pool-removed"})
			s.Changes = append(s.Changes, Change{At: ms(21_000), Service: "poor", UID: "2"},
				Change{At: ms(32_000), Service: "poor", UID: "2", Addrs: []netip.Addr{other}},
				Change{At: ms(33_000), Service: "poor", UID: "2", Deleted: true})
		}, nil},
		{"answers for what was deleted", func(s *story) {
			s.Changes = append(s.Changes, Change{At: ms(40_000), Service: "web", UID: "1", Deleted: true})
		}, []string{"node1 answered for 192.168.1.160, which nobody should", "node1 answered"}},
		{"answers without endpoints", func(s *story) {
			s.Changes[0].Service = churn
			s.fault(Fault{Kind: "endpoints-none"})
		}, []string{"node1 answered for 192.168.1.160, which nobody should", "node1 answered"}},
		{"silence without endpoints", func(s *story) {
			s.Changes[0].Service = churn
			s.fault(Fault{Kind: "endpoints-none"})
			s.holders = []holding{{node: "node1", to: 20_500}, {node: "node3", from: 31_000, to: 60_000}}
		}, nil},

		// Reachable.
		{"connections fail", func(s *story) { s.attempts(40_000, 40_200, "timeout") }, []string{"4 connections to 192.168.1.160 of web failed: timeout"}},
		{"connections are reset at a move", func(s *story) {
			s.fault(Fault{Kind: "speaker-rollout"})
			s.holders = []holding{{node: "node1", to: 25_000}, {node: "node2", from: 25_000, to: 60_000}}
			s.attempts(25_000, 25_050, "reset")
		}, nil},
		{"connections time out at a move", func(s *story) {
			s.fault(Fault{Kind: "speaker-rollout"})
			s.holders = []holding{{node: "node1", to: 25_000}, {node: "node2", from: 25_000, to: 60_000}}
			s.attempts(25_000, 25_050, "timeout")
		}, []string{"1 connections to"}},
		{"connections fail in a failover", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node1"})
			s.holders = []holding{{node: "node1", to: 20_000}, {node: "node2", from: 20_300, to: 60_000}}
			s.attempts(20_000, 20_800, "timeout")
		}, nil},
		{"connections to a Service of policy Cluster fail while a node is away", func(s *story) {
			s.Changes[0].Local = false
			s.fault(Fault{Kind: "cable-cut", Node: "node2"})
			s.attempts(25_000, 25_200, "timeout")
		}, nil},
		{"connections to one of policy Local fail while a node is away", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node2"})
			s.attempts(25_000, 25_200, "timeout")
		}, []string{"4 connections to"}},
		{"a host in the smaller part of a split LAN goes on with a MAC of the other part", func(s *story) {
			s.part(21_500)
			s.attempts(20_000, 29_800, "timeout")
		}, []string{"129 connections to"}},
		{"connections fail in the smaller part of a split LAN, to a node in it", func(s *story) {
			s.fault(Fault{Kind: "partition", Apart: []string{"node1", "node2"}})
			s.holders = []holding{{node: "node3", to: 60_000}}
			s.attempts(25_000, 25_200, "timeout")
		}, []string{"4 connections to"}},
		{"connections fail, to nodes too", func(s *story) {
			s.attempts(40_000, 40_200, "timeout")
			s.Controls = []Attempt{{At: ms(40_000), Target: "node3", Err: "timeout"}}
		}, nil},
		{"connections fail, to a node that is cut off too", func(s *story) {
			s.fault(Fault{Kind: "cable-cut", Node: "node3"})
			s.attempts(25_000, 25_200, "timeout")
			s.Controls = []Attempt{{At: ms(25_000), Target: "node3", Err: "timeout"}}
		}, []string{"4 connections to"}},
		{"not ready", func(s *story) {
			s.fault(Fault{Kind: "kubelet-kill", Node: "node2"})
			s.Faults[0].Ready = 0
		}, []string{"not all was ready again"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := quiet()
			tt.story(s)
			checkVerdict(t, Check(s.history()), tt.want)
		})
	}
}

// checkVerdict wants a violation for each text, and no others.
func checkVerdict(t *testing.T, v Verdict, want []string) {
	t.Helper()
	left := slices.Clone(v.Violations)
	for _, text := range want {
		i := slices.IndexFunc(left, func(v Violation) bool { return strings.Contains(v.What, text) })
		if i < 0 {
			t.Errorf("no violation says %q", text)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, v := range left {
		t.Errorf("also: %s", v)
	}
}
