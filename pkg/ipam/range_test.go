package ipam_test

import (
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/invar-lb/invar/pkg/ipam"
)

// mustRange parses a range that a test knows to be good.
func mustRange(tb testing.TB, text string) ipam.Range {
	tb.Helper()
	r, err := ipam.ParseRange(text)
	if err != nil {
		tb.Fatalf("parse: %v", err)
	}
	return r
}

func TestParseRange(t *testing.T) {
	tests := []struct {
		text, want string
		size       uint64
	}{
		{"192.168.1.160-192.168.1.169", "192.168.1.160-192.168.1.169", 10},
		{"10.20.30.40/24", "10.20.30.0/24", 256},
		{"10.0.0.5 - 10.0.0.9", "10.0.0.5-10.0.0.9", 5},
		{" 10.0.0.5-10.0.0.9 ", "10.0.0.5-10.0.0.9", 5},
		{"10.0.0.5-10.0.0.5", "10.0.0.5/32", 1},
		{"10.0.0.0-10.0.0.255", "10.0.0.0/24", 256},
		{"0.0.0.0/0", "0.0.0.0/0", 1 << 32},
		{"::ffff:1.2.3.0/120", "1.2.3.0/24", 256},
		{"::ffff:1.2.3.4-1.2.3.5", "1.2.3.4/31", 2},
		{"FC00:0::1/128", "fc00::1/128", 1},
		{"fd00::/66", "fd00::/66", 1 << 62},
		{"fd00::/65", "fd00::/65", math.MaxInt64},
		{"fd00::/64", "fd00::/64", math.MaxInt64},
		{"::/0", "::/0", math.MaxInt64},
		{"fd00::ffff-fd00::1:1", "fd00::ffff-fd00::1:1", 3},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			r := mustRange(t, tt.text)
			if r.String() != tt.want || r.Size() != tt.size {
				t.Errorf("got %s of %d addresses, want %s of %d", r, r.Size(), tt.want, tt.size)
			}
		})
	}
}

// TestParseRangeError checks what is refused; the exact messages are in pkg/config/testdata.
func TestParseRangeError(t *testing.T) {
	tests := []struct{ text, reason string }{
		{"", "is empty"},
		{"10.0.0.1", "write 10.0.0.1/32"},
		{"10.0.0.0/33", "allowed is /0 to /32"},
		{"10.0.0.0/-1", "start of the range"},
		{"fc00::/129", "allowed is /0 to /128"},
		{"10.0.0.0/", "allowed is /0 to /32"},
		{"10.0.0.9-10.0.0.5", "ends before it starts"},
		{"1.2.3.4-fc00::1", "one family"},
		{"fc00::1-1.2.3.4", "one family"},
		{"010.0.0.0/24", "leading zero"},
		{"10.0.0.00-10.0.0.1", "leading zero"},
		{"fe80::1%eth0/64", "has a zone"},
		{"fe80::1%a-b", "start of the range"},
		{"::ffff:0.0.0.0/95", "shorter than /96"},
		{"10.0.0.0/24 ", "allowed is /0 to /32"},
		{strings.Repeat("1", 500) + "/8", "…"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			r, err := ipam.ParseRange(tt.text)
			var rangeErr *ipam.RangeError
			if !errors.As(err, &rangeErr) || rangeErr.Text != tt.text || !strings.Contains(rangeErr.Reason, tt.reason) {
				t.Errorf("got %v and error %v, want a RangeError with %q", r, err, tt.reason)
			}
		})
	}
}

func TestCapacity(t *testing.T) {
	tests := []struct {
		text string
		want uint64
	}{
		{"10.0.0.0/24", 254},
		{"10.0.0.0/22", 1016},
		{"10.0.0.0/25", 127},
		{"10.0.0.128/25", 127},
		{"10.0.0.64/26", 64},
		{"10.0.0.255-10.0.1.0", 0},
		{"10.0.0.0/32", 0},
		{"10.0.0.254-10.0.1.1", 2},
		{"0.0.0.0/0", 1<<32 - 1<<25},
		{"fd00::/120", 256},
	}
	for _, tt := range tests {
		if got := mustRange(t, tt.text).Capacity(true); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.text, got, tt.want)
		}
	}
}

func TestRangeOverlaps(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"10.0.0.0/24", "10.0.0.255/32", true},
		{"10.0.0.0/24", "10.0.1.0/24", false},
		{"10.0.0.0/24", "10.0.0.0/24", true},
		{"10.0.0.5-10.0.0.9", "10.0.0.9-10.0.0.12", true},
		{"10.0.0.5-10.0.0.9", "10.0.0.10-10.0.0.12", false},
		{"0.0.0.0/0", "::/0", false},
	}
	for _, tt := range tests {
		a, b := mustRange(t, tt.a), mustRange(t, tt.b)
		if a.Overlaps(b) != tt.want || b.Overlaps(a) != tt.want {
			t.Errorf("%s and %s: got %v and %v, want %v", a, b, a.Overlaps(b), b.Overlaps(a), tt.want)
		}
	}
}

// FuzzParseRange parses any text. A range must be read again from what it prints, and contain its ends but not their
// neighbours.
func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{
		"192.168.1.160-192.168.1.169", "10.0.0.5 - 10.0.0.9", "10.20.30.40/24", "::ffff:1.2.3.0/120", "::/0", "0.0.0.0/0",
		"fd00::-fd00::ffff", "10.0.0.9-10.0.0.5", "1.2.3.4-fc00::1", "010.0.0.1/8", "fe80::1%eth0/64", "-", "/", "10.0.0.0/024",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ipam.ParseRange(text)
		if err != nil {
			var rangeErr *ipam.RangeError
			if !errors.As(err, &rangeErr) || rangeErr.Reason == "" {
				t.Fatalf("error without a reason: %#v", err)
			}
			return
		}
		if again, err := ipam.ParseRange(r.String()); err != nil || again != r {
			t.Fatalf("%q is printed as %s and read as %s, %v", text, r, again, err)
		}
		before, after := r.From.Prev(), r.To.Next()
		if !r.Contains(r.From) || !r.Contains(r.To) || r.Contains(before) || r.Contains(after) || r.Contains(netip.Addr{}) {
			t.Fatalf("%s doesn't contain its ends, or contains %s or %s", r, before, after)
		}
		if r.Size() == 0 || r.Capacity(true) > r.Size() {
			t.Fatalf("%s: size %d, capacity %d", r, r.Size(), r.Capacity(true))
		}
	})
}
