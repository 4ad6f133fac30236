package speaker

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/invar-lb/invar/pkg/kube/api/apitest"
	"github.com/invar-lb/invar/pkg/layer2"
)

// testSpeaker is the speaker of node1, which doesn't run: its caches hold what a test puts there.
type testSpeaker struct {
	*Speaker
	registry *prometheus.Registry
	events   *recorder
}

// recorder keeps Events as text.
type recorder struct {
	record.EventRecorder // nil: nothing else is called
	events               []string
}

func (r *recorder) Eventf(obj runtime.Object, kind, reason, format string, args ...any) {
	svc := obj.(*corev1.Service)
	r.events = append(r.events, fmt.Sprintf("%s/%s %s %s "+format, append([]any{svc.Namespace, svc.Name, kind, reason}, args...)...))
}

func newSpeaker(t testing.TB) *testSpeaker {
	t.Helper()
	s := &testSpeaker{registry: prometheus.NewRegistry(), events: &recorder{}}
	s.Speaker = New(Config{
		Client: apitest.NewClient(), Recorder: s.events, Logger: slog.New(slog.DiscardHandler),
		Metrics: NewMetrics(s.registry), Node: "node1",
		Namespace: "metallb-system", ConfigMap: "config", Secret: "memberlist", BindAddr: addr("127.0.0.1"),
	})
	return s
}

// store puts Services into the cache.
func (s *testSpeaker) store(t testing.TB, services ...*corev1.Service) {
	t.Helper()
	for _, svc := range services {
		if err := s.services.GetStore().Add(svc); err != nil {
			t.Fatal(err)
		}
	}
}

func object(name string, kind corev1.ServiceType) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{Type: kind},
	}
}

// told returns the Events recorded since the last call, sorted: those of one look come in no order.
func (s *testSpeaker) told() []string {
	events := s.events.events
	s.events.events = nil
	slices.Sort(events)
	return events
}

// series returns the exposition of metallb_speaker_announced for "service address" pairs.
func series(pairs ...string) string {
	if len(pairs) == 0 {
		return ""
	}
	text := "# HELP metallb_speaker_announced Services announced from this node: 1 for each of their addresses.\n" +
		"# TYPE metallb_speaker_announced gauge\n"
	for _, p := range pairs {
		service, ip, _ := strings.Cut(p, " ")
		text += fmt.Sprintf("metallb_speaker_announced{ip=%q,node=\"node1\",protocol=\"layer2\",service=%q} 1\n", ip, service)
	}
	return text
}

func TestReport(t *testing.T) {
	assigned := func(services ...string) (events []string) {
		for _, service := range services {
			events = append(events, "default/"+service+` Normal nodeAssigned announcing from node "node1" with protocol "layer2"`)
		}
		return events
	}
	steps := []struct {
		name     string
		services map[string][]string // all addresses, and whose they are
		desired  []string            // those that this node announces
		events   []string
		series   []string // "service address"
	}{
		{name: "nothing"},
		{
			name:     "held by others",
			services: map[string][]string{"192.168.1.160": {"echo"}},
		},
		{
			name:     "begun",
			services: map[string][]string{"192.168.1.160": {"echo"}, "192.168.1.161": {"web"}},
			desired:  []string{"192.168.1.160"},
			events:   assigned("echo"), series: []string{"default/echo 192.168.1.160"},
		},
		{
			name:     "the same again",
			services: map[string][]string{"192.168.1.160": {"echo"}, "192.168.1.161": {"web"}},
			desired:  []string{"192.168.1.160"},
			series:   []string{"default/echo 192.168.1.160"},
		},
		{
			name:     "one more",
			services: map[string][]string{"192.168.1.160": {"echo"}, "192.168.1.161": {"web"}},
			desired:  []string{"192.168.1.160", "192.168.1.161"},
			events:   assigned("web"), series: []string{"default/echo 192.168.1.160", "default/web 192.168.1.161"},
		},
		{
			name:     "another Service comes to share the address, one withdrawn",
			services: map[string][]string{"192.168.1.160": {"echo", "web"}},
			desired:  []string{"192.168.1.160"},
			events:   assigned("web"), series: []string{"default/echo 192.168.1.160", "default/web 192.168.1.160"},
		},
		{
			name:     "two addresses of one Service: one Event",
			services: map[string][]string{"192.168.1.162": {"dual"}, "2001:db8::162": {"dual"}},
			desired:  []string{"192.168.1.162", "2001:db8::162"},
			events:   assigned("dual"), series: []string{"default/dual 192.168.1.162", "default/dual 2001:db8::162"},
		},
		{
			name:     "the Service is deleted in the same moment",
			services: map[string][]string{"192.168.1.163": {"deleted"}},
			desired:  []string{"192.168.1.163"},
			series:   []string{"default/deleted 192.168.1.163"},
		},
		{name: "all withdrawn", services: map[string][]string{"192.168.1.163": {"deleted"}}},
	}

	s := newSpeaker(t)
	for _, name := range []string{"echo", "web", "dual"} {
		s.store(t, object(name, corev1.ServiceTypeLoadBalancer))
	}
	for _, tt := range steps {
		f := facts{services: map[netip.Addr][]cache.ObjectName{}}
		for a, services := range tt.services {
			for _, svc := range services {
				f.services[addr(a)] = append(f.services[addr(a)], name(svc))
			}
		}
		desired := map[netip.Addr]layer2.Announcement{}
		for _, a := range tt.desired {
			desired[addr(a)] = layer2.Announcement{}
		}
		s.report(f, desired)
		if diff := cmp.Diff(tt.events, s.told(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: events (-want +got):\n%s", tt.name, diff)
		}
		err := testutil.GatherAndCompare(s.registry, strings.NewReader(series(tt.series...)), "metallb_speaker_announced")
		if err != nil {
			t.Errorf("%s: metric: %v", tt.name, err)
		}
	}
}
