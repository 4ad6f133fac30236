package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestCheck(t *testing.T) {
	good := options{services: 10, others: 20, nodes: 20, speakers: 5, churn: 10, window: time.Second}
	for _, tt := range []struct {
		name   string
		change func(*options)
		ok     bool
	}{
		{"good", func(*options) {}, true},
		{"as many nodes as there are addresses", func(o *options) { o.nodes = maxNodes }, true},
		{"too many nodes", func(o *options) { o.nodes = maxNodes + 1 }, false},
		{"the lab's nodes alone", func(o *options) { o.nodes = labNodes }, false},
		{"more speakers than nodes", func(o *options) { o.speakers = 21 }, false},
		{"no Services", func(o *options) { o.services = 0 }, false},
		{"no churn", func(o *options) { o.churn = 0 }, false},
		{"no window", func(o *options) { o.window = 0 }, false},
	} {
		o := good
		tt.change(&o)
		if err := o.check(); (err == nil) != tt.ok {
			t.Errorf("%s: got error %v, want ok %t", tt.name, err, tt.ok)
		}
	}
}

// TestAddresses: all that there may be are different, in the LAN, and nobody else's.
func TestAddresses(t *testing.T) {
	lan := netip.MustParsePrefix("192.168.1.0/24")
	seen := map[netip.Addr]bool{
		netip.MustParseAddr("192.168.1.1"):   true, // the router
		netip.MustParseAddr("192.168.1.10"):  true, // the control plane
		netip.MustParseAddr("192.168.1.11"):  true, // the lab's nodes
		netip.MustParseAddr("192.168.1.12"):  true,
		netip.MustParseAddr("192.168.1.13"):  true,
		netip.MustParseAddr("192.168.1.100"): true, // the client
		netip.MustParseAddr("192.168.1.255"): true, // broadcast
	}
	for i := range maxNodes - labNodes {
		a := addrOf(i)
		if seen[a] || !lan.Contains(a) {
			t.Errorf("simulated node %d has %s", i, a)
		}
		seen[a] = true
	}
}

func TestParseCounters(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       traffic
		err        bool
	}{
		{
			name: "both",
			text: `{"nftables": [{"metainfo": {"version": "1.0.6"}},
				{"counter": {"family": "ip", "name": "received", "table": "bench", "handle": 1, "packets": 3, "bytes": 4000}},
				{"counter": {"family": "ip", "name": "sent", "table": "bench", "handle": 2, "packets": 2, "bytes": 80}}]}`,
			want: traffic{received: 4000, sent: 80},
		},
		{name: "one is missing", text: `{"nftables": [{"counter": {"name": "received", "bytes": 1}}]}`, err: true},
		{name: "no JSON", text: "table ip bench", err: true},
	} {
		got, err := parseCounters(tt.text)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("%s: got %+v, %v, want %+v, error %t", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		figures []float64
		want    spread
	}{
		{nil, spread{}},
		{[]float64{1, 2, 4.5}, spread{Mean: 2.5, Max: 4.5}},
		{[]float64{0.001, 0.008}, spread{Mean: 0, Max: 0.01}},
	} {
		if got := spreadOf(tt.figures); got != tt.want {
			t.Errorf("of %v: got %+v, want %+v", tt.figures, got, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	k := &kubelet{name: "node9", addr: netip.MustParseAddr("192.168.1.19")}
	from := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	pod := func(env ...corev1.EnvVar) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "speaker-x"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Env: env}}},
		}
	}
	got, err := k.environment(pod(
		corev1.EnvVar{Name: "GOGC", Value: "50"},
		corev1.EnvVar{Name: "NODE", ValueFrom: from("spec.nodeName")},
		corev1.EnvVar{Name: "HOST", ValueFrom: from("status.hostIP")},
		corev1.EnvVar{Name: "POD", ValueFrom: from("status.podIP")},
		corev1.EnvVar{Name: "SPACE", ValueFrom: from("metadata.namespace")},
		corev1.EnvVar{Name: "NAME", ValueFrom: from("metadata.name")},
	))
	want := []string{"GOGC=50", "NODE=node9", "HOST=192.168.1.19", "POD=192.168.1.19", "SPACE=metallb-system", "NAME=speaker-x"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	for _, source := range []*corev1.EnvVarSource{from("metadata.uid"), {SecretKeyRef: &corev1.SecretKeySelector{Key: "x"}}} {
		if got, err := k.environment(pod(corev1.EnvVar{Name: "X", ValueFrom: source})); err == nil {
			t.Errorf("%+v: got %v, want an error", source, got)
		}
	}
}

func TestDifferenceCheck(t *testing.T) {
	for _, tt := range []struct {
		syncs float64
		ok    bool
	}{{0, true}, {-1, true}, {4, true}, {40, false}} {
		if err := (difference{Updates: 50, Syncs: tt.syncs}).check(); (err == nil) != tt.ok {
			t.Errorf("%v looks in a second for 50 updates: got error %v, want ok %t", tt.syncs, err, tt.ok)
		}
	}
}
