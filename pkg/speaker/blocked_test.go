package speaker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/membership"
)

func TestBlockage(t *testing.T) {
	now := time.Unix(1000, 0)
	var b blockage
	for _, tt := range []struct {
		what  string
		after time.Duration
		hears bool
		want  bool
	}{
		{"nobody answers", 0, false, false},
		{"one answers", time.Minute, true, false},
		{"not for long enough", 4 * time.Second, true, false},
		{"for long", time.Second, true, true},
		{"still", time.Hour, true, true},
		{"nobody any more", time.Second, false, false},
		{"one again", time.Second, true, false},
	} {
		now = now.Add(tt.after)
		b = b.note(tt.hears, now)
		if b.now != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, b.now, tt.want)
		}
	}
}

func TestReady(t *testing.T) {
	s := offline("")
	s.cfg.BindAddr, s.cfg.Port = addr("192.168.1.11"), 7946
	endpoint := func(node, ip string, ready bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			NodeName: &node, Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}
	}
	listSpeakers(t, s, endpoint("node1", "192.168.1.11", false), endpoint("node2", "192.168.1.12", true),
		endpoint("node3", "192.168.1.13", false), endpoint("node4", "fd00::14", true))
	var got []string
	for _, p := range s.ready() {
		got = append(got, p.Name+" "+p.Addr.String())
	}
	want := []string{"node1 192.168.1.11", "node2 192.168.1.12"}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// listSpeakers makes Kubernetes list these speakers, and no others.
func listSpeakers(t *testing.T, s *Speaker, endpoints ...discoveryv1.Endpoint) {
	t.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "metallb-system", Name: "speaker-1", Labels: map[string]string{discoveryv1.LabelServiceName: kube.SpeakerService},
		},
		Endpoints: endpoints,
	}
	if err := s.peerSlices.GetStore().Add(slice); err != nil {
		t.Fatal(err)
	}
}

func TestStrangers(t *testing.T) {
	s := offline("")
	s.cfg.BindAddr, s.cfg.Port = addr("192.168.1.11"), 7946
	now := time.Unix(1000, 0)
	ready := true // as a Service that publishes all addresses calls each
	endpoint := func(node, ip string, serving, terminating bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{NodeName: &node, Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{
			Ready: &ready, Serving: &serving, Terminating: &terminating,
		}}
	}
	own, member := endpoint("node1", "192.168.1.11", true, false), endpoint("node2", "192.168.1.12", true, false)
	members := []membership.Peer{{Name: "node1", Addr: addr("192.168.1.11")}, {Name: "node2", Addr: addr("192.168.1.12")}}
	for _, tt := range []struct {
		what      string
		after     time.Duration
		endpoints []discoveryv1.Endpoint
		want      bool
	}{
		{"members only", 0, []discoveryv1.Endpoint{own, member}, false},
		{"one that starts", 0, []discoveryv1.Endpoint{own, member, endpoint("node3", "192.168.1.13", false, false)}, false},
		{"one of the other family", 0, []discoveryv1.Endpoint{own, member, endpoint("node3", "fd00::13", true, false)}, false},
		{"one that is no member", 0, []discoveryv1.Endpoint{own, member, endpoint("node3", "192.168.1.13", true, false)}, true},
		{"it ends", time.Hour, []discoveryv1.Endpoint{own, member, endpoint("node3", "192.168.1.13", true, true)}, true},
		{"it has gone a moment ago", strangerMemory - 1, []discoveryv1.Endpoint{own, member}, true},
		{"it is gone", 1, []discoveryv1.Endpoint{own, member}, false},
	} {
		now = now.Add(tt.after)
		listSpeakers(t, s, tt.endpoints...)
		if got := s.strangers(members, now); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}
