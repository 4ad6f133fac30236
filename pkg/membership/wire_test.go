package membership

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/election"
)

// keyOfSecret is the key that every version derives from the text "secret".
const keyOfSecret = "416c9ed7c7b6483ac612133c21227289fb289c0cc1bdaec307c1391bab0b3031"

// What is said, in the words of version 0.1.0. Speakers of two versions talk to each other during a rollout, so a version that changes
// one of these texts is not understood by those that are out.
const (
	wireMeta   = "\x02\x01eth0"
	wireClaims = "\x01\x05node1\x02\x04\xc0\xa8\x01\xa0\x01\x10\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xac\x02\x05node2\x01\x04\xc0\xa8\x01\xa1\x02"
	wireReport = "\x02" + `{"node":"node1","seq":7,"meta":"AgFldGgw","silent":["node2"],` +
		`"conflicts":[{"addr":"192.168.1.160","mac":"02:00:00:00:00:01","interface":"eth0"}]}`
	wireHoldings = "\x04" + `{"node":"node1","seq":7,"held":[{"addr":"192.168.1.160","interfaces":["eth0"],` +
		`"since":"2030-01-02T03:04:05Z","from":"node2","cause":"failure","took":150000000}]}`
	wireDigest = "\x05\x1bG\xbd:k\xba\xeeZnode1"
)

var (
	saidMeta   = Meta{Announcing: true, Carry: "eth0"}
	saidClaims = []election.Claim{
		{Addr: netip.MustParseAddr("192.168.1.160"), Node: "node1", Seq: 1},
		{Addr: netip.MustParseAddr("fd00::1"), Node: "node1", Seq: 300},
		{Addr: netip.MustParseAddr("192.168.1.161"), Node: "node2", Seq: 2},
	}
	saidReport = report{Node: "node1", Seq: 7, Meta: []byte(wireMeta), Observations: Observations{
		Silent:    []string{"node2"},
		Conflicts: []Conflict{{Addr: netip.MustParseAddr("192.168.1.160"), MAC: "02:00:00:00:00:01", Interface: "eth0"}},
	}}
	saidHoldings = holdings{Node: "node1", Seq: 7, Held: []Holding{{
		Addr: netip.MustParseAddr("192.168.1.160"), Interfaces: []string{"eth0"}, Since: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		From: "node2", Cause: "failure", Took: 150 * time.Millisecond,
	}}}
)

// digestOf returns the digest of a node that knows the claims and reports.
func digestOf(node string, claims []election.Claim, reports ...report) digest {
	l := election.NewLedger(node)
	l.Receive(claims)
	rs := newReports(node, 0, Meta{})
	rs.merge(reports)
	return digest{node, l.Digest() + rs.digest()}
}

// part is a message inside a state.
func part(msg string) string {
	return string([]byte{byte(len(msg)&0x7f | 0x80), byte(len(msg) >> 7)}) + msg
}

// TestWire says what others understand.
func TestWire(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		got        []byte
	}{
		{"meta", wireMeta, encodeMeta(saidMeta)},
		{"claims", wireClaims, encodeClaims(saidClaims)},
		{"report", wireReport, encodeReport(saidReport)},
		{"holdings", wireHoldings, encodeHoldings(&saidHoldings)},
		{"digest", wireDigest, encodeDigest(digestOf("node1", saidClaims, saidReport))},
	} {
		if string(tt.got) != tt.want {
			t.Errorf("%s is\n%q, want\n%q", tt.name, tt.got, tt.want)
		}
	}
}

// TestWireOfOthers understands what others say, and of a later version what it knows.
func TestWireOfOthers(t *testing.T) {
	later := "\xfawhatever"
	laterReport := wireReport[:len(wireReport)-1] + `,"mood":{"fine":true}}`
	laterHoldings := wireHoldings[:len(wireHoldings)-1] + `,"mood":"fine"}`
	for _, tt := range []struct {
		name, text string
		want       message
	}{
		{"claims", wireClaims, message{claims: saidClaims}},
		{"report", wireReport, message{reports: []report{saidReport}}},
		{"holdings", wireHoldings, message{holdings: []holdings{saidHoldings}}},
		{"digest", wireDigest, message{digest: digestOf("node1", saidClaims, saidReport)}},
		{"state", "\x03" + part(wireClaims) + part(wireReport), message{claims: saidClaims, reports: []report{saidReport}}},
		{"another kind", later, message{}},
		{"report with more", laterReport, message{reports: []report{saidReport}}},
		{"holdings with more", laterHoldings, message{holdings: []holdings{saidHoldings}}},
		{
			"state with more", "\x03" + part(later) + part(wireClaims) + part(later) + part(laterReport) + part(later),
			message{claims: saidClaims, reports: []report{saidReport}},
		},
	} {
		got, err := decode([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got, cmpAddr, cmp.AllowUnexported(message{}, holdings{}, digest{})); diff != "" || err != nil {
			t.Errorf("%s: %v, (-want +got):\n%s", tt.name, err, diff)
		}
	}
	for name, text := range map[string]string{
		"this": wireMeta, "a later version": "\x03" + wireMeta[1:], "a later version with a flag": "\x1f\x81" + wireMeta[2:],
	} {
		if got, err := decodeMeta([]byte(text)); err != nil || got != saidMeta {
			t.Errorf("metadata of %s: %+v, %v, want %+v", name, got, err, saidMeta)
		}
	}
}
