package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How a Prober looks: a new connection each probeInterval, which has probeTimeout to be established. The timeout is below
// the second after which TCP repeats a lost SYN, so an attempt tells about the moment at which it began.
const (
	probeInterval = 5 * time.Millisecond
	probeTimeout  = 300 * time.Millisecond
)

// The ports that attempts come from are taken in turn, which lasts minutes at this rate, and the kernel takes none of them by
// itself (see reservePorts). A port that comes again too soon may be known to a node's connection tracking from an earlier
// connection, to another Service that had the same address: such an attempt fails though nothing is wrong.
const firstPort, lastPort = 2000, 60000

// reservePorts keeps the kernel of host from choosing one of the attempts' ports for another connection
// (net.ipv4.ip_local_reserved_ports).
func (c *Cluster) reservePorts(host string) error {
	return c.Do(host, func() error {
		ports := fmt.Sprintf("%d-%d", firstPort, lastPort-1)
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_reserved_ports", []byte(ports), 0o644)
	})
}

// Attempt is one attempt to open a connection.
type Attempt struct {
	Start time.Time
	Err   error // nil: the connection was established
}

// Prober opens connections from a host, one after the other without waiting for each, until it is stopped.
type Prober struct {
	port     *atomic.Uint32 // the cluster's
	stop     chan struct{}
	workers  sync.WaitGroup
	mu       sync.Mutex
	attempts []Attempt
}

// Probe starts a Prober that connects from host to addr.
func (c *Cluster) Probe(host string, addr netip.AddrPort) *Prober {
	return c.ProbeEvery(host, addr, probeInterval)
}

// ProbeEvery is Probe with another interval.
func (c *Cluster) ProbeEvery(host string, addr netip.AddrPort, interval time.Duration) *Prober {
	p := &Prober{port: &c.port, stop: make(chan struct{})}
	starts := make(chan time.Time)
	p.workers.Go(func() {
		defer close(starts)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				starts <- time.Now()
			}
		}
	})
	// Each worker is a thread in the host's network. There are enough of them for all attempts to time out at once.
	for range max(1, probeTimeout/interval) * 2 {
		p.workers.Go(func() { _ = c.Do(host, func() error { p.work(addr, starts); return nil }) })
	}
	return p
}

func (p *Prober) work(addr netip.AddrPort, starts <-chan time.Time) {
	for range starts {
		a := Attempt{Start: time.Now()}
		a.Err = p.connect(addr)
		p.mu.Lock()
		p.attempts = append(p.attempts, a)
		p.mu.Unlock()
	}
}

// connect opens a connection from the next port that is free, and closes it.
func (p *Prober) connect(addr netip.AddrPort) error {
	for {
		port := firstPort + int(p.port.Add(1)%(lastPort-firstPort))
		d := net.Dialer{Timeout: probeTimeout, LocalAddr: &net.TCPAddr{Port: port}}
		conn, err := d.Dial("tcp", addr.String())
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// Since returns the attempts that began at t or later and are decided, in the order in which they began.
func (p *Prober) Since(t time.Time) []Attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Attempt
	for _, a := range p.attempts {
		if !a.Start.Before(t) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Attempt) int { return cmp.Compare(a.Start.UnixNano(), b.Start.UnixNano()) })
	return out
}

// Stop waits for the attempts under way and returns all.
func (p *Prober) Stop() []Attempt {
	close(p.stop)
	p.workers.Wait()
	return p.Since(time.Time{})
}

// Outage returns for how long new connections failed: from the start of the first failed attempt to the start of the first
// of the successful ones after the last failure; and whether there was such a success. Without a failure it returns 0.
func Outage(attempts []Attempt) (outage time.Duration, recovered bool) {
	first, last := -1, -1
	for i, a := range attempts {
		if a.Err != nil {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return 0, true
	}
	if last == len(attempts)-1 {
		return attempts[last].Start.Sub(attempts[first].Start), false
	}
	return attempts[last+1].Start.Sub(attempts[first].Start), true
}

// Stall returns the longest time from the start of one attempt to that of the next. A Prober makes one each few milliseconds, come
// what may, so in a time that is longer this process did not run: the machine was busy or stood still, and with it whatever was
// asked.
func Stall(attempts []Attempt) (longest time.Duration) {
	for i := 1; i < len(attempts); i++ {
		longest = max(longest, attempts[i].Start.Sub(attempts[i-1].Start))
	}
	return longest
}
