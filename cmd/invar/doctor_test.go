package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDoctor lets the doctor look at an API server on which every source of facts has a fault, but for the daemons' states.
func TestDoctor(t *testing.T) {
	pod := func(namespace, name, more string) string {
		return `{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"` + namespace + `","name":"` + name + `"` + more + `}`
	}
	ready := `"status":{"conditions":[{"type":"Ready","status":"True"}]}`
	speaker := pod("metallb-system", "speaker-1", `,"labels":{"component":"speaker"}},"spec":{"nodeName":"node1","hostNetwork":true},`+ready)
	controller := pod("metallb-system", "controller-1", `,"labels":{"component":"controller"}},"spec":{"nodeName":"node1"},`+ready)
	kubeVIP := pod("kube-system", "kube-vip-node1", `,"annotations":{"kubernetes.io/config.mirror":"x"}},"spec":{"hostNetwork":true,"containers":[
		{"name":"kube-vip","image":"ghcr.io/kube-vip/kube-vip:v1","env":[{"name":"svc_enable","value":"true"}]}]}`)
	web := pod("default", "web", `},"status":{"podIPs":[{"ip":"10.0.0.7"}]}`)
	group := metav1.GroupVersionForDiscovery{GroupVersion: "cilium.io/v2alpha1", Version: "v2alpha1"}
	objects := map[string]any{
		"/version":                 map[string]string{"major": "1", "minor": "30", "gitVersion": "v1.30.4"},
		"/api":                     metav1.APIVersions{Versions: []string{"v1"}},
		"/apis":                    metav1.APIGroupList{Groups: []metav1.APIGroup{{Name: "cilium.io", Versions: []metav1.GroupVersionForDiscovery{group}, PreferredVersion: group}}},
		"/apis/cilium.io/v2alpha1": resources("cilium.io/v2alpha1", "ciliuml2announcementpolicies", "ciliumnodes"),
		"/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies": list("CiliumL2AnnouncementPolicy", "cilium.io/v2alpha1",
			`{"kind":"CiliumL2AnnouncementPolicy","apiVersion":"cilium.io/v2alpha1","metadata":{"name":"lan"}}`),
		"/api/v1/nodes": list("Node", "v1", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"node1"},"spec":{"podCIDRs":["10.0.1.0/24"]},
			"status":{"addresses":[{"type":"InternalIP","address":"10.0.0.5"},{"type":"Hostname","address":"node1"}]}}`),
		"/api/v1/services": list("Service", "v1", planService(t, "web", 0, "10.0.0.1", func(s *corev1.Service) {
			s.Annotations = map[string]string{"invar.io/announce-from": "node9"}
			s.Spec.ClusterIPs = []string{"10.0.0.9", "None"}
		})),
		"/apis/networking.k8s.io/v1/servicecidrs": list("ServiceCIDR", "networking.k8s.io/v1",
			`{"kind":"ServiceCIDR","apiVersion":"networking.k8s.io/v1","metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.0.2.0/24"]}}`),
		"/api/v1/pods":                           list("Pod", "v1", kubeVIP, web),
		"/api/v1/namespaces/metallb-system/pods": list("Pod", "v1", speaker, controller),
		"/api/v1/namespaces/kube-system/configmaps/kube-proxy": json.RawMessage(`{"kind":"ConfigMap","apiVersion":"v1",
			"metadata":{"name":"kube-proxy","namespace":"kube-system"},"data":{"config.conf":"mode: ipvs\nipvs:\n  strictARP: false\n"}}`),
		"/api/v1/namespaces/metallb-system/configmaps/config": json.RawMessage(`{"kind":"ConfigMap","apiVersion":"v1",
			"metadata":{"name":"config"},"data":{"config":"address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/22]}]"}}`),
		"/apis/apps/v1/deployments": list("Deployment", "apps/v1",
			`{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"namespace":"metallb-system","name":"controller"},
			"spec":{"template":{"spec":{"containers":[{"name":"c","image":"ghcr.io/invar-lb/invar:v1"}]}}}}`,
			`{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"namespace":"other","name":"controller"},
			"spec":{"template":{"spec":{"containers":[{"name":"c","image":"ghcr.io/invar-lb/invar:v1","args":["--lb-class=example.com/other"]}]}}}}`),
		"/apis/apps/v1/daemonsets": list("DaemonSet", "apps/v1",
			`{"kind":"DaemonSet","apiVersion":"apps/v1","metadata":{"namespace":"kube-system","name":"svclb-web",
			"labels":{"svccontroller.k3s.cattle.io/svcname":"web"}},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"rancher/klipper-lb:v0.4"}]}}}}`),
	}
	got := runLine(t, "invar doctor --kubeconfig config", "", map[string]string{"config": apiServer(t, objects)})
	var seen, unknown []string
	for line := range strings.Lines(got.Out) {
		if text, ok := strings.CutPrefix(line, "  seen: "); ok {
			seen = append(seen, strings.TrimSpace(text))
		}
		if strings.HasPrefix(line, "not known: ") {
			unknown = append(unknown, line)
		}
	}
	want := []string{
		"the API server is v1.30.4",
		`Service default/web wants node "node9", which does not exist`,
		"DaemonSet kube-system/svclb-web, image rancher/klipper-lb:v0.4",
		"Pod kube-system/kube-vip-node1, image ghcr.io/kube-vip/kube-vip:v1",
		"CiliumL2AnnouncementPolicy lan",
		"ConfigMap kube-system/kube-proxy: mode: ipvs, ipvs.strictARP: false",
		"10.0.0.0/22 overlaps 10.0.0.5/32, node node1",
		"10.0.0.0/22 overlaps 10.0.0.7/32, pod default/web",
		"10.0.0.0/22 overlaps 10.0.0.9/32, Service default/web",
		"10.0.0.0/22 overlaps 10.0.1.0/24, the pods of node node1",
		"10.0.0.0/22 overlaps 10.0.2.0/24, the range of the Services",
	}
	if diff := cmp.Diff(want, seen); diff != "" || got.Code != exitNo || len(unknown) != 2 {
		t.Errorf("exit code %d, %d things unknown, evidence (-want +got):\n%s\n%s%s", got.Code, len(unknown), diff, got.Out, got.Err)
	}
}

// TestWithoutRights lets a user ask who may list objects, but neither reach pods nor see the ranges of the Services: what is not
// known is said to be so.
func TestWithoutRights(t *testing.T) {
	pod := func(name, component string) string {
		return `{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"metallb-system","name":"` + name + `","labels":{"component":"` +
			component + `"}},"spec":{"nodeName":"node1"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`
	}
	pods := list("Pod", "v1", pod("speaker-1", "speaker"), pod("controller-1", "controller"))
	objects := map[string]any{
		"/version": map[string]string{"gitVersion": "v1.37.0"},
		"/api":     metav1.APIVersions{Versions: []string{"v1"}},
		"/apis":    metav1.APIGroupList{},
		"/api/v1/namespaces/metallb-system/configmaps/config": json.RawMessage(`{"kind":"ConfigMap","apiVersion":"v1",
			"metadata":{"name":"config"},"data":{"config":"address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/22]}]"}}`),

		"/api/v1/nodes":    list("Node", "v1", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"node1"}}`),
		"/api/v1/services": list("Service", "v1", planService(t, "web", 0, "10.0.0.1", func(*corev1.Service) {})),

		"/apis/networking.k8s.io/v1/servicecidrs": forbidden,

		"/api/v1/pods":                           pods,
		"/api/v1/namespaces/metallb-system/pods": pods,
		"/apis/apps/v1/deployments":              list("Deployment", "apps/v1"),
		"/apis/apps/v1/daemonsets":               list("DaemonSet", "apps/v1"),
	}
	tests := []struct {
		line string
		want []string // parts of the text
	}{
		{"invar doctor --kubeconfig config", []string{
			"not known: list ServiceCIDRs: no right", "not known: node node1: its speaker speaker-1 could not be asked",
			"not known: how kube-proxy is configured", "nothing is wrong; looked at 1 node, 1 speaker, 1 controller and 1 pool",
		}},
		{"invar status --kubeconfig config", []string{
			"default/web  10.0.0.1  -     not known  -", "node1  not known  0          speaker-1", "node1  not known  -          controller-1",
			"Configuration: not known", "! The controller can't be asked: ",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got := runLine(t, tt.line, "", map[string]string{"config": apiServer(t, objects)})
			if got.Code != exitOK {
				t.Errorf("exit code %d: %s", got.Code, got.Err)
			}
			for _, want := range tt.want {
				if !strings.Contains(got.Out, want) {
					t.Errorf("no %q in:\n%s", want, got.Out)
				}
			}
		})
	}
}

// TestDoctorRefused refuses the user one source of facts after the other on a healthy cluster, and all at once: each is said to be
// not known, and nothing is concluded from its lack.
func TestDoctorRefused(t *testing.T) {
	const labels = `"labels":{"component":"`
	pod := func(name, component string) string {
		return `{"kind":"Pod","apiVersion":"v1","metadata":{"namespace":"metallb-system","name":"` + name + `",` + labels + component +
			`"}},"spec":{"nodeName":"node1"},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`
	}
	workload := func(kind, name, image, args string) string {
		return `{"kind":"` + kind + `","apiVersion":"apps/v1","metadata":{"namespace":"metallb-system","name":"` + name + `"},
			"spec":{"template":{"spec":{"containers":[{"name":"c","image":"` + image + `","args":["` + args + `"]}]}}}}`
	}
	healthy := map[string]any{
		"/version": map[string]string{"gitVersion": "v1.37.0"},
		"/api":     metav1.APIVersions{Versions: []string{"v1"}},
		"/apis":    metav1.APIGroupList{},
		"/api/v1/namespaces/metallb-system/configmaps/config": json.RawMessage(`{"kind":"ConfigMap","apiVersion":"v1",
			"metadata":{"name":"config"},"data":{"config":"address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.0/22]}]"}}`),
		"/api/v1/nodes": list("Node", "v1", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"node1",
			"labels":{"node.kubernetes.io/exclude-from-external-load-balancers":""}}}`),
		"/api/v1/services": list("Service", "v1", planService(t, "web", 0, "10.0.0.1", func(s *corev1.Service) {
			s.Annotations = map[string]string{"invar.io/announce-from": "node1"}
		})),
		"/apis/networking.k8s.io/v1/servicecidrs": list("ServiceCIDR", "networking.k8s.io/v1"),
		"/api/v1/pods":                           list("Pod", "v1"),
		"/api/v1/namespaces/metallb-system/pods": list("Pod", "v1", pod("speaker-1", "speaker"), pod("controller-1", "controller")),
		"/api/v1/namespaces/kube-system/configmaps/kube-proxy": json.RawMessage(`{"kind":"ConfigMap","apiVersion":"v1",
			"metadata":{"name":"kube-proxy","namespace":"kube-system"},"data":{"config.conf":"mode: nftables\n"}}`),
		"/apis/apps/v1/deployments": list("Deployment", "apps/v1",
			workload("Deployment", "controller", "ghcr.io/invar-lb/invar:v1", "--lb-class=example.com/own"),
			workload("Deployment", "other", "ghcr.io/kube-vip/kube-vip-cloud-provider:v1", "")),
		"/apis/apps/v1/daemonsets": list("DaemonSet", "apps/v1",
			workload("DaemonSet", "speaker", "ghcr.io/invar-lb/invar:v1", "--ignore-exclude-lb")),
	}
	sources := []string{
		"/api/v1/namespaces/metallb-system/configmaps/config", "/api/v1/nodes", "/api/v1/services", "/apis/networking.k8s.io/v1/servicecidrs",
		"/api/v1/pods", "/api/v1/namespaces/metallb-system/pods", "/api/v1/namespaces/kube-system/configmaps/kube-proxy",
		"/apis/apps/v1/deployments", "/apis/apps/v1/daemonsets",
	}
	for _, refused := range append([][]string{nil, sources}, slices.Collect(slices.Chunk(sources, 1))...) {
		t.Run(fmt.Sprint(len(refused), refused), func(t *testing.T) {
			objects := maps.Clone(healthy)
			for _, path := range refused {
				objects[path] = forbidden
			}
			got := runLine(t, "invar doctor --kubeconfig config", "", map[string]string{"config": apiServer(t, objects)})
			if got.Code != exitOK || !strings.Contains(got.Out, "nothing is wrong") {
				t.Errorf("exit code %d, want no finding:\n%s%s", got.Code, got.Out, got.Err)
			}
			if n := strings.Count(got.Out, "no right"); n != len(refused) {
				t.Errorf("%d things are not known for want of a right, want %d:\n%s", n, len(refused), got.Out)
			}
		})
	}
}

func TestIsSet(t *testing.T) {
	for _, tt := range []struct {
		args string
		want bool
	}{
		{"--ignore-exclude-lb", true},
		{"--port=1 --ignore-exclude-lb=true", true},
		{"-ignore-exclude-lb", true},
		{"--ignore-exclude-lb=false", false},
		{"--ignore-exclude", false},
	} {
		spec := corev1.PodSpec{Containers: []corev1.Container{{Args: strings.Fields(tt.args)}}}
		if got := isSet(&spec, "ignore-exclude-lb"); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.args, got, tt.want)
		}
	}
	if isSet(&corev1.PodSpec{}, "ignore-exclude-lb") {
		t.Error("set in a pod without containers")
	}
}
