//go:build e2e

package security

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/membership"
	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// label is what memberlist puts before each message, in the clear.
const label = "\xf4\x05invar"

// TestNothingIsReadable records what a node says while an address is claimed and moves, and looks for names and addresses in it:
// they are there for who has the key, and for nobody else.
func TestNothingIsReadable(t *testing.T) {
	node := lab.Nodes()[0].Name
	recording := record(t, node)
	lab.Create(t, provoked)
	lab.WantAddresses(t, provoked, "192.168.1.160")
	for _, to := range []string{"node1", "node2", "node3"} {
		if err := from(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		clustertest.Eventually(t, to+" answers", func(ctx context.Context) error {
			holder, err := lab.Holder(ctx, netip.MustParseAddr("192.168.1.160"))
			if err == nil && holder != to {
				err = fmt.Errorf("%s does", holder)
			}
			return err
		})
	}
	payloads := recording()
	secrets := map[string][]byte{"address": {192, 168, 1, 160}, "address as text": []byte("192.168.1.160")}
	for _, n := range lab.Nodes() {
		secrets[n.Name] = []byte(n.Name)
	}
	opened, plain := 0, map[string]int{}
	aead := cipherOf(t)
	for _, p := range payloads {
		text, ok := decrypt(aead, p)
		if ok {
			opened++
		}
		for what, secret := range secrets {
			if bytes.Contains(p, secret) {
				t.Errorf("%s is readable in %q", what, p)
			}
			if bytes.Contains(text, secret) {
				plain[what]++
			}
		}
	}
	t.Logf("%d messages recorded, %d opened with the key; in these: %v", len(payloads), opened, plain)
	for _, what := range []string{"address", "node1", "node2", "node3"} {
		if plain[what] == 0 {
			t.Errorf("not even with the key %s is found: nothing is proven", what)
		}
	}
}

// record keeps the payloads of datagrams of the gossip that reach or leave a host, and those of TCP segments, until the function
// that it returns is called.
func record(t *testing.T, host string) (stop func() [][]byte) {
	t.Helper()
	var conn *packet.Conn
	err := lab.Do(host, func() (err error) {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	done := make(chan [][]byte)
	go func() {
		var payloads [][]byte
		for buf := make([]byte, 1<<16); ; {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				done <- payloads
				return
			}
			if p := gossipIn(buf[:n]); len(p) > 0 {
				payloads = append(payloads, bytes.Clone(p))
			}
		}
	}()
	return func() [][]byte {
		conn.Close()
		return <-done
	}
}

// gossipIn returns the payload of an IPv4 packet to or from the gossip's port, empty if it is none.
func gossipIn(frame []byte) []byte {
	const ethernet, port = 14, membership.DefaultPort
	if len(frame) < ethernet+20 || frame[12] != 8 || frame[13] != 0 {
		return nil
	}
	ip := frame[ethernet:]
	end, transport := int(ip[2])<<8|int(ip[3]), int(ip[0]&15)*4
	if end > len(ip) || end < transport+8 {
		return nil
	}
	segment := ip[transport:end]
	if from, to := int(segment[0])<<8|int(segment[1]), int(segment[2])<<8|int(segment[3]); from != port && to != port {
		return nil
	}
	switch ip[9] {
	case unix.IPPROTO_UDP:
		return segment[8:]
	case unix.IPPROTO_TCP:
		if offset := int(segment[12]>>4) * 4; offset <= len(segment) {
			return segment[offset:]
		}
	}
	return nil
}

// cipherOf returns the speakers' cipher.
func cipherOf(t *testing.T) cipher.AEAD {
	t.Helper()
	key, err := membership.DeriveKey(secretText(t))
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// decrypt opens a datagram of memberlist: the label, a byte with the version of the encryption, nonce, and what is encrypted.
func decrypt(aead cipher.AEAD, p []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(p, []byte(label))
	if !ok || len(rest) < 1+aead.NonceSize() {
		return nil, false
	}
	rest = rest[1:]
	text, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], []byte(label[2:]))
	return text, err == nil
}

// TestStrangersAreRefused lets a host on the LAN ask to be a member in all the ways that it has without the key. None gives it an
// answer or makes a speaker take it for one; with the key it is let in, so it is the key that matters.
func TestStrangersAreRefused(t *testing.T) {
	for _, tt := range []struct {
		way      string
		accepted bool
	}{{"plain", false}, {"unlabelled", false}, {"own key", false}, {"the key", true}} {
		t.Run(tt.way, func(t *testing.T) {
			got := intrude(t, tt.way)
			t.Logf("%+v", got)
			if accepted := got.Joined > 0 || got.Pinged || len(got.Members) > 1; accepted != tt.accepted {
				t.Errorf("it was accepted: %t, want %t", accepted, tt.accepted)
			}
		})
	}
	clustertest.Eventually(t, "the speakers see each other and no more", func(ctx context.Context) error {
		pods, err := lab.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "component=speaker"})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			lines, err := lab.Metrics(ctx, p.Name, "invar_speaker_members")
			if err != nil {
				return err
			}
			if wanted := []string{fmt.Sprintf("invar_speaker_members %d", len(lab.Nodes()))}; !slices.Equal(lines, wanted) {
				return fmt.Errorf("%s says %q, want %q", p.Name, lines, wanted)
			}
		}
		return nil
	})
}

// intrude runs the stranger on the host that is not in the cluster.
func intrude(t *testing.T, way string) (got attempt) {
	t.Helper()
	me, err := lab.Host(cluster.Client)
	if err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), strangerEnv+"="+way, targetEnv+"="+lab.Nodes()[0].IPv4.String(), ownEnv+"="+me.IPv4.String(),
		keyEnv+"="+string(secretText(t)))
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := lab.Do(cluster.Client, cmd.Run); err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %q", err, out.Bytes())
	}
	return got
}

func secretText(t *testing.T) []byte {
	t.Helper()
	secret, err := lab.Kube.CoreV1().Secrets(cluster.Namespace).Get(t.Context(), "memberlist", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Data[kube.SecretKey]
}
