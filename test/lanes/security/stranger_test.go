//go:build e2e

package security

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/invar-lb/invar/pkg/membership"
)

const (
	// strangerEnv makes the test's binary a host on the LAN that wants to be a member; its value says in which way.
	strangerEnv = "INVAR_STRANGER"
	// targetEnv is the address of the speaker that it asks, ownEnv its own, and keyEnv the text of the Secret.
	targetEnv, ownEnv, keyEnv = "STRANGER_TARGET", "STRANGER_ADDRESS", "STRANGER_KEY"
)

// attempt is what came of it.
type attempt struct {
	Joined  int      // speakers that let it in
	Members []string // that it knows then, itself included
	Pinged  bool     // a datagram was answered
	Err     string
}

// stranger makes one attempt, prints what came of it, and returns the exit code.
func stranger() int {
	got, err := try(os.Getenv(strangerEnv), netip.MustParseAddr(os.Getenv(targetEnv)), netip.MustParseAddr(os.Getenv(ownEnv)))
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(got)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func try(way string, target, own netip.Addr) (attempt, error) {
	switch way {
	case "plain":
		return tryPlain(target, own, "invar")
	case "unlabelled":
		return tryPlain(target, own, "")
	case "own key":
		key := make([]byte, 32)
		_, _ = rand.Read(key)
		return tryKey(target, own, key)
	}
	key, err := membership.DeriveKey([]byte(os.Getenv(keyEnv)))
	if err != nil {
		return attempt{}, err
	}
	return tryKey(target, own, key)
}

// tryPlain asks as memberlist does that was given no key.
func tryPlain(target, own netip.Addr, label string) (got attempt, err error) {
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label, c.Logger = "stranger", label, log.New(io.Discard, "", 0)
	c.BindAddr, c.BindPort, c.AdvertisePort = own.String(), membership.DefaultPort, membership.DefaultPort
	list, err := memberlist.Create(c)
	if err != nil {
		return got, err
	}
	to := netip.AddrPortFrom(target, membership.DefaultPort)
	if got.Joined, err = list.Join([]string{to.String()}); err != nil {
		got.Err = err.Error()
	}
	_, err = list.Ping("node1", net.UDPAddrFromAddrPort(to))
	got.Pinged = err == nil
	for _, n := range list.Members() {
		got.Members = append(got.Members, n.Name)
	}
	return got, list.Shutdown()
}

// tryKey asks as an observer does that has a key.
func tryKey(target, own netip.Addr, key []byte) (got attempt, err error) {
	m, err := membership.Start(membership.Config{
		Node: "stranger", BindAddr: own, Port: membership.DefaultPort, Key: key, Meta: membership.Meta{Observer: true},
		Logger: slog.New(slog.DiscardHandler), OnChange: func() {},
	})
	if err != nil {
		return got, err
	}
	if got.Joined, err = m.Join([]netip.AddrPort{netip.AddrPortFrom(target, membership.DefaultPort)}); err != nil {
		got.Err = err.Error()
	}
	for _, p := range m.Peers() {
		got.Members = append(got.Members, p.Name)
	}
	return got, m.Leave(time.Second)
}
