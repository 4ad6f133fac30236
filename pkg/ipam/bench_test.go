package ipam_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/invar-lb/invar/pkg/ipam"
)

// fillLevels are the pools and fill levels of `make bench-alloc`.
var fillLevels = []struct {
	name  string // of the pool's size
	text  string
	inUse int
}{
	{"/16", "10.0.0.0/16", 1000},
	{"/16", "10.0.0.0/16", 16000},
	{"/16", "10.0.0.0/16", 65000},
	{"/64", "fd00::/64", 1000},
	{"/64", "fd00::/64", 65000},
}

// filled returns an Allocator with one pool of which inUse addresses are in use, and the request for another one.
func filled(tb testing.TB, text string, inUse int) (*ipam.Allocator, ipam.Request) {
	tb.Helper()
	r, err := ipam.ParseRange(text)
	if err != nil {
		tb.Fatalf("parse: %v", err)
	}
	a := ipam.New()
	if err := a.SetPools([]ipam.Pool{{Name: "default", Ranges: []ipam.Range{r}, AutoAssign: true}}); err != nil {
		tb.Fatalf("set pools: %v", err)
	}
	request := func(name string) ipam.Request {
		return ipam.Request{
			Service: "default/" + name, Namespace: "default", Families: []ipam.Family{r.Family()},
			Ports: []ipam.Port{{Protocol: "TCP", Port: 80}, {Protocol: "TCP", Port: 443}},
		}
	}
	for i := range inUse {
		if _, err := a.Allocate(request(fmt.Sprintf("svc-%d", i))); err != nil {
			tb.Fatalf("allocate %d: %v", i, err)
		}
	}
	return a, request("another")
}

// allocateAndRelease is one round of the benchmark: a Service comes and goes.
func allocateAndRelease(b *testing.B, text string, inUse int) {
	a, req := filled(b, text, inUse)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Allocate(req); err != nil {
			b.Fatalf("allocate: %v", err)
		}
		a.Release(req.Service)
	}
}

func BenchmarkAllocate(b *testing.B) {
	for _, l := range fillLevels {
		b.Run(fmt.Sprintf("pool=%s/in_use=%d", l.name[1:], l.inUse), func(b *testing.B) {
			allocateAndRelease(b, l.text, l.inUse)
		})
	}
}

// BenchmarkAllocateRefused is a Service that a full pool turns away.
func BenchmarkAllocateRefused(b *testing.B) {
	a, req := filled(b, "10.0.0.0/16", 65536)
	for b.Loop() {
		if _, err := a.Allocate(req); err == nil {
			b.Fatal("allocated from a full pool")
		}
	}
}

// BenchmarkAllocateUnchanged is the sync of a Service that has what it wants.
func BenchmarkAllocateUnchanged(b *testing.B) {
	a, req := filled(b, "10.0.0.0/16", 16000)
	req.Service = "default/svc-9000"
	for b.Loop() {
		if _, err := a.Allocate(req); err != nil {
			b.Fatalf("allocate: %v", err)
		}
	}
}

// BenchmarkAllocateShared is the worst case of sharing: everybody has the same key and the same ports, so that nobody
// can share, and the search must see that without looking at each address.
func BenchmarkAllocateShared(b *testing.B) {
	for _, inUse := range []int{1000, 16000, 65000} {
		b.Run(fmt.Sprintf("in_use=%d", inUse), func(b *testing.B) {
			a, req := filled(b, "10.0.0.0/16", 0)
			req.SharingKey = "everybody"
			for i := range inUse {
				req.Service = fmt.Sprintf("default/svc-%d", i)
				if _, err := a.Allocate(req); err != nil {
					b.Fatalf("allocate: %v", err)
				}
			}
			req.Service = "default/another"
			for b.Loop() {
				if _, err := a.Allocate(req); err != nil {
					b.Fatalf("allocate: %v", err)
				}
				a.Release(req.Service)
			}
		})
	}
}

// BenchmarkSetPools replaces the pools under 16,000 Services.
func BenchmarkSetPools(b *testing.B) {
	a, _ := filled(b, "10.0.0.0/16", 16000)
	pools := []ipam.Pool{pool("low", "10.0.0.0/18"), pool("high", "10.0.64.0/18")}
	for b.Loop() {
		if err := a.SetPools(pools); err != nil {
			b.Fatalf("set pools: %v", err)
		}
	}
}

// targetNanoseconds is how long an allocation, with the release that follows it here, may take at every fill level.
const targetNanoseconds = 2000

// TestBenchAlloc writes one line of JSON for each fill level to the file that INVAR_BENCH_ALLOC names. Without it
// there is nothing to do; `make bench-alloc` sets it.
func TestBenchAlloc(t *testing.T) {
	name := os.Getenv("INVAR_BENCH_ALLOC")
	if name == "" {
		t.Skip("INVAR_BENCH_ALLOC is not set; run make bench-alloc")
	}
	out, err := os.Create(name)
	if err != nil {
		t.Fatalf("create output: %v", err)
	}
	for _, l := range fillLevels {
		ns := medianNanoseconds(t, l.text, l.inUse)
		if err := json.NewEncoder(out).Encode(benchLine{Pool: l.name, InUse: l.inUse, NanosecondsPerAlloc: ns}); err != nil {
			t.Fatalf("write output: %v", err)
		}
		if ns > targetNanoseconds {
			t.Errorf("pool %s with %d in use: %d ns, more than %d", l.name, l.inUse, ns, targetNanoseconds)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatalf("close output: %v", err)
	}
}

// A benchLine is what `make bench-alloc` prints of one fill level.
type benchLine struct {
	Pool                string `json:"pool"`
	InUse               int    `json:"in_use"`
	NanosecondsPerAlloc int64  `json:"ns_per_alloc"`
}

// medianNanoseconds returns how long an allocation with its release takes: the median of many batches, each of which is
// short enough to be run in one go also on a machine that has other things to do.
func medianNanoseconds(t *testing.T, text string, inUse int) int64 {
	const batches, size = 2000, 200
	a, req := filled(t, text, inUse)
	times := make([]time.Duration, batches)
	for i := range times {
		start := time.Now()
		for range size {
			if _, err := a.Allocate(req); err != nil {
				t.Fatalf("allocate: %v", err)
			}
			a.Release(req.Service)
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[batches/2].Nanoseconds() / size
}
