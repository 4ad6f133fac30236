//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/invar-lb/invar/test/cluster"
)

// TestBlockedPort drops what the speakers say to each other: each address is answered by one node all the same, and the
// speakers say loudly what is wrong.
func TestBlockedPort(t *testing.T) {
	addrs := []string{"192.168.1.160", "192.168.1.161", "192.168.1.162"}
	for i, addr := range addrs {
		name := fmt.Sprintf("blocked-%d", i)
		create(t, name)
		wantAddresses(t, name, addr)
		holder(t, addr)
	}
	for _, h := range lab.Nodes() {
		block(t, h.Name)
	}
	wantBlocked(t, "1")
	for _, addr := range addrs {
		holder(t, addr)
		wantHTTP(t, addr)
	}
	for _, h := range lab.Nodes() {
		unblock(t, h.Name)
	}
	wantBlocked(t, "0")
	for _, addr := range addrs {
		holder(t, addr)
		wantHTTP(t, addr)
	}
}

const blockRules = `table inet invar_test {
	chain input {
		type filter hook input priority -10
		meta l4proto { tcp, udp } th dport 7946 drop
	}
}`

func block(t *testing.T, node string) {
	t.Helper()
	if _, err := lab.Run(t.Context(), node, "nft", blockRules); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unblock(t, node) })
}

func unblock(t *testing.T, node string) {
	t.Helper()
	_, err := lab.Run(context.WithoutCancel(t.Context()), node, "nft", "destroy table inet invar_test")
	if err != nil && !strings.Contains(err.Error(), "No such file") {
		t.Error(err)
	}
}

// wantBlocked waits for all speakers to say whether they can talk to others.
func wantBlocked(t *testing.T, value string) {
	t.Helper()
	eventually(t, "invar_speaker_blocked_bool is "+value+" everywhere", func(ctx context.Context) error {
		for _, h := range lab.Nodes() {
			text, err := metrics(ctx, h)
			if err != nil {
				return err
			}
			if !strings.Contains(text, "\ninvar_speaker_blocked_bool "+value+"\n") {
				return fmt.Errorf("not on %s", h.Name)
			}
		}
		return nil
	})
}

// metrics returns what the speaker of a node says on its metrics endpoint.
func metrics(ctx context.Context, h cluster.Host) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"http://"+netip.AddrPortFrom(h.IPv4, 7472).String()+"/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := lab.HTTP(cluster.Client).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}
