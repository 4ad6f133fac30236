package arp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/invar-lb/invar/pkg/responder"
)

// processEnv is set in the environment of the Responder's process.
const processEnv = "INVAR_BENCH_ARP_PROCESS"

// order tells the process what to do before it reports.
type order struct {
	Kind kind         `json:"kind"`
	Link string       `json:"link"` // the interface
	Hold []netip.Addr `json:"hold"` // the addresses to answer for
}

// kind is what an order is about.
type kind string

const (
	justReport kind = ""
	// openResponder opens a Responder, after what was opened before is closed.
	openResponder kind = "responder"
	// openDeaf opens a packet socket that passes nothing, after what was opened before is closed.
	openDeaf kind = "deaf"
	// openPlain opens a socket without a filter and reads all of it, after what was opened before is closed.
	openPlain kind = "plain"
	// openLoop starts a bare loop for one address, for good.
	openLoop kind = "loop"
)

// report is how the process answers each order.
type report struct {
	Err     string        `json:"err"`     // why the order could not be carried out
	CPU     time.Duration `json:"cpu"`     // CPU time of the process since it started
	Mallocs uint64        `json:"mallocs"` // allocations on its heap since then
	Answers uint64        `json:"answers"` // frames that the Responder sent
}

// host is what the process does.
type host struct {
	close   func() // what is open; may be nil
	counter responder.Counter
}

// serve is the process: it carries out orders until there are no more, and returns its exit code.
func serve(in io.Reader, out io.Writer) int {
	var h host
	orders, reports := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		err := orders.Decode(&o)
		if errors.Is(err, io.EOF) {
			return 0
		}
		if err == nil {
			err = reports.Encode(h.obey(o))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "responder's process:", err)
			return 1
		}
	}
}

// obey carries out one order.
func (h *host) obey(o order) report {
	if err := h.open(o); err != nil {
		return report{Err: err.Error()}
	}
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return report{Err: err.Error()}
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return report{
		CPU:     time.Duration(usage.Utime.Nano() + usage.Stime.Nano()),
		Mallocs: mem.Mallocs,
		Answers: h.counter.Answers.Load(),
	}
}

// open opens what the order asks for.
func (h *host) open(o order) error {
	if o.Kind == justReport {
		return nil
	}
	ifi, err := net.InterfaceByName(o.Link)
	if err != nil {
		return fmt.Errorf("find link %s: %w", o.Link, err)
	}
	if o.Kind == openLoop {
		return startLoop(ifi, o.Hold[0])
	}
	if h.close != nil {
		h.close()
	}
	h.close = nil
	switch o.Kind {
	case openDeaf:
		h.close, err = listenDeaf(ifi)
		return err
	case openPlain:
		h.close, err = readPlain(ifi)
		return err
	}
	r := responder.Open(responder.Config{
		Interface: responder.Interface{Index: ifi.Index, Name: ifi.Name, MAC: [6]byte(ifi.HardwareAddr)},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	h.close = r.Close
	r.Set(h.set(o.Hold))
	return r.Err()
}

// set returns the addresses as the Responder takes them.
func (h *host) set(addrs []netip.Addr) map[netip.Addr]responder.Entry {
	set := make(map[netip.Addr]responder.Entry, len(addrs))
	for _, addr := range addrs {
		set[addr] = responder.Entry{Counter: &h.counter}
	}
	return set
}

// process is such a process as the test has it.
type process struct {
	tb      testing.TB
	orders  *json.Encoder
	reports *json.Decoder
}

// startProcess starts the process in this network namespace. It ends with the test, or when the test's process does, since
// that closes the pipe.
func startProcess(tb testing.TB) *process {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), processEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start the responder's process: %v", err)
	}
	tb.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("the responder's process: %v", err)
		}
	})
	return &process{tb: tb, orders: json.NewEncoder(in), reports: json.NewDecoder(out)}
}

// do has an order carried out.
func (p *process) do(o order) report {
	p.tb.Helper()
	if err := p.orders.Encode(o); err != nil {
		p.tb.Fatalf("order the responder's process: %v", err)
	}
	var r report
	if err := p.reports.Decode(&r); err != nil {
		p.tb.Fatalf("hear the responder's process: %v", err)
	}
	if r.Err != "" {
		p.tb.Fatalf("the responder's process: %s", r.Err)
	}
	return r
}

// open has something opened.
func (p *process) open(k kind, link string, hold ...netip.Addr) {
	p.tb.Helper()
	p.do(order{Kind: k, Link: link, Hold: hold})
}

// report asks how the process fares.
func (p *process) report() report {
	p.tb.Helper()
	return p.do(order{})
}
