package main

import "time"

// network is the LAN: whose frames reach whom, and how fast.
type network struct {
	*clock
	machines []*machine
	// blocked counts the partitions that keep frames of the first node from the second.
	blocked [][]int
	loss    float64 // probability of a frame to get lost
	dup     float64 // probability of a datagram to come twice
	slow    float64 // factor on all delays

	datagrams, questions, exchanges int // how many were sent
}

// The time that a frame takes, through both kernels and to the process.
const (
	minDelay = 100 * time.Microsecond
	maxDelay = 5 * time.Millisecond
)

// TCP: a segment that is lost is sent again after the first time-out, then after twice that; a lost SYN after a second.
const (
	firstRetransmit = 200 * time.Millisecond
	tcpTimeout      = time.Second // membership's profile: TCPTimeout
)

func newNetwork(c *clock, n int) *network {
	net := &network{clock: c, blocked: make([][]int, n), slow: 1}
	for i := range net.blocked {
		net.blocked[i] = make([]int, n)
		net.machines = append(net.machines, &machine{network: net, id: i, name: nodeName(i), carrier: true})
	}
	return net
}

// delay returns how long the next frame takes. Delays differ, so frames overtake each other.
func (n *network) delay() time.Duration {
	d := n.between(minDelay, maxDelay)
	if n.chance(0.7) { // most are quick
		d = n.between(minDelay, maxDelay/10)
	}
	return time.Duration(float64(d) * n.slow)
}

// reaches reports whether a frame that node from sends now comes to the kernel of node to.
func (n *network) reaches(from, to int) bool {
	a, b := n.machines[from], n.machines[to]
	return a.running() && b.running() && a.carrier && b.carrier && n.blocked[from][to] == 0
}

// connected reports whether two nodes reach each other.
func (n *network) connected(a, b int) bool { return n.reaches(a, b) && n.reaches(b, a) }

// datagram sends one to the process of a node, which may not get it, or twice.
func (n *network) datagram(from, to int, deliver func(*process)) {
	n.datagrams++
	copies := 1
	if n.chance(n.dup) {
		copies = 2
	}
	for range copies {
		if !n.reaches(from, to) || n.chance(n.loss) {
			continue
		}
		n.after(n.delay(), func() {
			if p := n.machines[to].process; p != nil && n.reaches(from, to) {
				p.run(func() { p.roll.sign(from); deliver(p) })
			}
		})
	}
}

// segment sends over a connection: what is lost is sent again, until the connection is given up.
func (n *network) segment(from, to int, deadline time.Duration, deliver func(*process)) {
	n.retransmit(from, to, deadline, firstRetransmit, func() {
		if p := n.machines[to].process; p != nil {
			p.run(func() { p.roll.sign(from); deliver(p) })
		}
	})
}

func (n *network) retransmit(from, to int, deadline, wait time.Duration, arrive func()) {
	if n.now > deadline {
		return
	}
	if !n.reaches(from, to) || n.chance(n.loss) {
		n.after(wait, func() { n.retransmit(from, to, deadline, 2*wait, arrive) })
		return
	}
	n.after(n.delay(), arrive)
}

// dial opens a connection and says how that went: by the kernel of a node that has no process it is refused at once; one
// that doesn't answer leaves it open until the caller has had enough.
func (n *network) dial(from, to int, deadline time.Duration, accepted, refused func()) {
	if n.now > deadline {
		return
	}
	if !n.connected(from, to) || n.chance(n.loss) || n.chance(n.loss) {
		n.after(time.Second, func() { n.dial(from, to, deadline, accepted, refused) })
		return
	}
	n.after(n.machines[from].resolve()+n.delay()+n.delay(), func() {
		switch {
		case !n.connected(from, to):
		case n.machines[to].process == nil:
			refused()
		default:
			accepted()
		}
	})
}

// ask asks the kernel of a node for that node's own address, as arping does, and calls answered when the answer comes. The
// caller is a process; what it gets while it is paused it reads later.
func (n *network) ask(from, to int, answered func()) {
	n.questions++
	if n.connected(from, to) && !n.chance(n.loss) && !n.chance(n.loss) {
		n.after(n.delay()+n.delay(), func() {
			if n.connected(from, to) {
				answered()
			}
		})
	}
}
