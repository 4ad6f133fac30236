package responder

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/test/netns"
)

// client is a packet socket at the far end of a cable, used with plain system calls.
type client struct {
	b  *testing.B
	fd int
}

func newWireClient(b *testing.B, w *vethWire) *client {
	b.Helper()
	c := &client{b: b}
	w.peer.Do(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		timeout := unix.NsecToTimeval(int64(patience))
		return errors.Join(
			unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
			unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: 0x0608, Ifindex: netns.Index(b, "lan0")}),
		)
	})
	b.Cleanup(func() { _ = unix.Close(c.fd) })
	return c
}

// roundTrip sends a request and waits for the reply of a sender.
func (c *client) roundTrip(frame, buf []byte, from [4]byte) time.Duration {
	begin := time.Now()
	if _, err := unix.Write(c.fd, frame); err != nil {
		c.b.Fatal(err)
	}
	for {
		n, err := unix.Read(c.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue // the scheduler's signals
		}
		if err != nil {
			c.b.Fatal("no answer: ", err)
		}
		if n >= 42 && buf[offARPOperation+1] == opReply && [4]byte(buf[offARPSenderIP:]) == from {
			return time.Since(begin)
		}
	}
}

// BenchmarkWire measures over a veth pair how long an ARP request takes to be answered, by a Responder and by the kernel
// for an address of its own.
func BenchmarkWire(b *testing.B) {
	kernel4 := netip.MustParseAddr("192.0.2.50")
	for name, target := range map[string]netip.Addr{"ours": vip4, "kernel": kernel4} {
		b.Run(name, func(b *testing.B) {
			w := newVethWire(b)
			if err := netns.AddAddr("lan0", kernel4.String()+"/24"); err != nil {
				b.Fatal(err)
			}
			r := Open(w.config())
			defer r.Close()
			r.Set(hold(vip4))
			c := newWireClient(b, w)
			spec := request()
			spec.target = target
			frame, buf := spec.bytes(b), make([]byte, 2048)
			var took []time.Duration
			b.ResetTimer()
			for range b.N {
				took = append(took, c.roundTrip(frame, buf, target.As4()))
			}
			b.StopTimer()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
		})
	}
}

// BenchmarkForeign measures the CPU time of a frame for another address, sending included, with a Responder that holds a
// thousand addresses and without one. The difference is what the Responder costs a node on a busy LAN.
func BenchmarkForeign(b *testing.B) {
	for _, name := range []string{"without", "with"} {
		b.Run(name, func(b *testing.B) {
			w := newVethWire(b)
			c := newWireClient(b, w)
			if name == "with" {
				r := Open(w.config())
				defer r.Close()
				set := make(map[netip.Addr]Entry)
				for i := range 1000 {
					set[netip.AddrFrom4([4]byte{10, byte(i), byte(i >> 4), byte(i * 3)})] = Entry{}
				}
				r.Set(set)
			}
			spec := request()
			spec.op, spec.target = arp.OperationRequest, foreign4
			frame := spec.bytes(b)
			before := cpuTime(b)
			b.ResetTimer()
			for range b.N {
				if _, err := unix.Write(c.fd, frame); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/frame")
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
