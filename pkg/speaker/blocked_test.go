package speaker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/pkg/kube"
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
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "speaker-1"},
		Endpoints: []discoveryv1.Endpoint{
			endpoint("node1", "192.168.1.11", false), endpoint("node2", "192.168.1.12", true),
			endpoint("node3", "192.168.1.13", false), endpoint("node4", "fd00::14", true),
		},
	}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: kube.SpeakerService}
	if err := s.peerSlices.GetStore().Add(slice); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range s.ready() {
		got = append(got, p.Name+" "+p.Addr.String())
	}
	want := []string{"node1 192.168.1.11", "node2 192.168.1.12"}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
