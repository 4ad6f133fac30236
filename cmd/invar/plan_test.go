package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// planService returns a Service in JSON, made age seconds after the first.
func planService(t *testing.T, name string, age int, shown string, change func(*corev1.Service)) string {
	t.Helper()
	s := corev1.Service{
		TypeMeta: metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, 0, age, 0, time.UTC)),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	if shown != "" {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: shown}}
	}
	if change != nil {
		change(&s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPlan(t *testing.T) {
	class := "example.com/other"
	namespace := `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"default","labels":{"team":"a"}}}`
	objects := map[string]any{
		"/api/v1/namespaces": list("Namespace", "v1", namespace),
		"/api/v1/services": list("Service", "v1",
			planService(t, "kept", 0, "10.0.0.0", nil),
			planService(t, "lost", 1, "10.0.0.1", nil),
			planService(t, "waits", 2, "", func(s *corev1.Service) { s.Annotations = map[string]string{"metallb.io/address-pool": "none"} }),
			planService(t, "new", 3, "", nil),
			planService(t, "other", 4, "", func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }),
			planService(t, "not-yet", 5, "", func(s *corev1.Service) { s.Spec.IPFamilies = nil }),
		),
		"/api/v1/namespaces/metallb-system/configmaps/config": json.RawMessage(`{"kind":"ConfigMap","apiVersion":"v1",
			"metadata":{"name":"config","namespace":"metallb-system"},
			"data":{"config":"address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.0/31]}\n- {name: b, protocol: layer2, addresses: [10.0.1.0/24]}"}}`),
	}
	next := "address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.0/32]}\n" +
		"- {name: c, protocol: layer2, addresses: ['fd00::/64', 10.0.2.0/24], namespace-selectors: [{match-labels: {team: a}}]}\n"
	safe := "address-pools:\n- {name: a, protocol: layer2, addresses: [10.0.0.0/31]}\n- {name: b, protocol: layer2, addresses: [127.0.0.0/32]}\n"
	tests := []struct {
		name, line, stdin string
		want              ran
	}{
		{
			name: "one is stranded", line: "invar plan -", stdin: next,
			want: ran{exitNo, `POOL  CHANGE   IN USE
a     changed  2 of 2 -> 1 of 1
c     added    - -> 1 of many
b     removed  0 of 256 -> -
  a: addresses: 10.0.0.0/32, was 10.0.0.0/31

SERVICE        WILL         NOW       THEN      WHY
default/lost   be stranded  10.0.0.1  10.0.0.1  10.0.0.1 from pool a; 10.0.0.1 lies in no pool any more and stays until the Service asks for another address or is annotated invar.io/reallocate: "true"
default/waits  wait         none      none      pool none: not configured
default/new    get          none      10.0.2.0  10.0.2.0 from pool c

of 4 Services: 1 keep, 1 get, 0 move, 1 wait, 1 left with an address that lies in no pool
`, ""},
		},
		{
			name: "nothing is stranded", line: "invar plan - -o wide", stdin: safe,
			want: ran{exitOK, `<stdin>:3:43: notice: address-pools[1].addresses[0] (pool "b"): "127.0.0.0/32": contains loopback addresses (127.0.0.0/8), which clients can't reach
POOL  CHANGE   IN USE
a     same     2 of 2 -> 2 of 2
b     changed  0 of 256 -> 1 of 1
  b: addresses: 127.0.0.0/32, was 10.0.1.0/24

SERVICE        WILL  NOW       THEN       WHY
default/kept   keep  10.0.0.0  10.0.0.0   10.0.0.0 from pool a
default/lost   keep  10.0.0.1  10.0.0.1   10.0.0.1 from pool a
default/waits  wait  none      none       pool none: not configured
default/new    get   none      127.0.0.0  127.0.0.0 from pool b

of 4 Services: 2 keep, 1 get, 0 move, 1 wait, 0 left with an address that lies in no pool
`, ""},
		},
		{
			name: "a mistake in the file", line: "invar plan -", stdin: "address-pools: [{}]",
			want: ran{exitNo, `<stdin>:1:17: error: address-pools[0].name: every pool needs a name
<stdin>:1:17: error: address-pools[0].addresses: every pool needs at least one address range, such as 192.168.1.160-192.168.1.169
<stdin>:1:17: error: address-pools[0].protocol: every pool needs a protocol; allowed: layer2
<stdin>: 3 mistakes, 0 warnings
`, ""},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := runLine(t, tt.line+" --kubeconfig config", tt.stdin, map[string]string{"config": apiServer(t, objects)})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

func TestArgument(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--port=1", "--lb-class=a/b"}, "a/b"},
		{[]string{"--lb-class", "a/b", "--port=1"}, "a/b"},
		{[]string{"-lb-class=a/b"}, "a/b"},
		{[]string{"--lb-class"}, ""},
		{[]string{"--lb-classes=a"}, ""},
		{nil, ""},
	} {
		spec := corev1.PodSpec{Containers: []corev1.Container{{Args: tt.args}}}
		if got := argument(&spec, "lb-class"); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.args, got, tt.want)
		}
	}
	if got := argument(&corev1.PodSpec{}, "lb-class"); got != "" {
		t.Errorf("no container: got %q", got)
	}
}
