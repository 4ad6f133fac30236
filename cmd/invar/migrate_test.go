package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const simplePool = `{"apiVersion":"metallb.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"a","namespace":"metallb-system"},
"spec":{"addresses":["10.0.0.0/24"]}}`

const simpleAdvertisement = `{"apiVersion":"metallb.io/v1beta1","kind":"L2Advertisement","metadata":{"name":"a","namespace":"metallb-system"}}`

const peer = `{"apiVersion":"metallb.io/v1beta2","kind":"BGPPeer","metadata":{"name":"tor","namespace":"metallb-system"}}`

const migrated = `apiVersion: v1
kind: ConfigMap
metadata:
  namespace: metallb-system
  name: config
data:
  config: |
    address-pools:
    - name: a
      protocol: layer2
      addresses:
      - 10.0.0.0/24
`

func TestMigrateFiles(t *testing.T) {
	configMap := "kind: ConfigMap\napiVersion: v1\nmetadata: {name: config, namespace: metallb-system}\ndata: {config: ''}\n"
	tests := []struct {
		name, line, stdin string
		files             map[string]string
		want              ran
	}{
		{
			name: "two files", line: "invar migrate -f a.json -f -", stdin: "---\n" + simpleAdvertisement + "\n---\n",
			files: map[string]string{"a.json": simplePool}, want: ran{exitOK, migrated, ""},
		},
		{
			name: "something is lost", line: "invar migrate -f -", stdin: simplePool + "\n---\n" + simpleAdvertisement + "\n---\n" + peer,
			want: ran{exitNo, migrated, "BGPPeer tor: not carried over: Invar works in Layer 2 only\n"},
		},
		{
			name: "as JSON", line: "invar migrate -f - -o json", stdin: simplePool + "\n---\n" + simpleAdvertisement,
			want: ran{exitOK, `{
  "config": "address-pools:\n- name: a\n  protocol: layer2\n  addresses:\n  - 10.0.0.0/24\n",
  "losses": []
}
`, ""},
		},
		{
			name: "MetalLB 0.12", line: "invar migrate -f -", stdin: configMap,
			want: ran{exitOK, "", "nothing to migrate: ConfigMap metallb-system/config is the configuration of MetalLB 0.8 to 0.12, " +
				"which Invar reads as it is; check it with invar validate\n"},
		},
		{
			name: "nothing", line: "invar migrate -f -", stdin: "kind: Service\n",
			want: ran{exitFailed, "", "error: no custom resources of MetalLB, and no ConfigMap with a key config either\n"},
		},
		{
			name: "no YAML", line: "invar migrate -f -", stdin: "a: [",
			want: ran{exitFailed, "", "error: read resources in -: error converting YAML to JSON: yaml: line 1: did not find expected node content\n"},
		},
		{
			name: "no object", line: "invar migrate -f -", stdin: simplePool + "\n---\njust words\n",
			want: ran{exitFailed, "", "error: read resources in -: document 2 is no object of Kubernetes\n"},
		},
		{
			name: "an object of another form", line: "invar migrate -f -",
			stdin: "kind: IPAddressPool\napiVersion: metallb.io/v1beta1\nmetadata: {name: a}\nspec: {addresses: 5}\n",
			want: ran{exitFailed, "", "error: convert MetalLB's resources: IPAddressPool a: read spec: " +
				"json: cannot unmarshal number into Go struct field poolSpec.addresses of type []string\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, runLine(t, tt.line, tt.stdin, tt.files)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

// apiServer serves JSON by path, and says of all others that they don't exist. Its kubeconfig is config.
func apiServer(t *testing.T, objects map[string]any) (kubeconfig string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		object, ok := objects[r.URL.Path]
		w.Header().Set("Content-Type", "application/json")
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			object = metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound}
		}
		if object == forbidden {
			w.WriteHeader(http.StatusForbidden)
			object = metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
				Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: "no right",
			}
		}
		if err := json.NewEncoder(w).Encode(object); err != nil {
			t.Errorf("serve %s: %v", r.URL.Path, err)
		}
	}))
	t.Cleanup(server.Close)
	return fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\n"+
		"contexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n", server.URL)
}

// forbidden stands for an object that the user may not see.
const forbidden = "forbidden"

// list returns a list of objects of one kind.
func list(kind, version string, objects ...string) any {
	items := make([]json.RawMessage, len(objects))
	for i, o := range objects {
		items[i] = json.RawMessage(o)
	}
	return map[string]any{"kind": kind + "List", "apiVersion": version, "metadata": map[string]any{}, "items": items}
}

// resources returns what the API server says of the kinds of a version.
func resources(version string, names ...string) metav1.APIResourceList {
	l := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: version}
	for _, name := range names {
		l.APIResources = append(l.APIResources, metav1.APIResource{Name: name, Namespaced: true, Verbs: metav1.Verbs{"get", "list"}})
	}
	return l
}

func TestMigrateCluster(t *testing.T) {
	v1beta1 := metav1.GroupVersionForDiscovery{GroupVersion: "metallb.io/v1beta1", Version: "v1beta1"}
	v1beta2 := metav1.GroupVersionForDiscovery{GroupVersion: "metallb.io/v1beta2", Version: "v1beta2"}
	groups := metav1.APIGroupList{Groups: []metav1.APIGroup{
		{Name: "apps", Versions: []metav1.GroupVersionForDiscovery{{GroupVersion: "apps/v1", Version: "v1"}}},
		{Name: "metallb.io", Versions: []metav1.GroupVersionForDiscovery{v1beta2, v1beta1}, PreferredVersion: v1beta2},
	}}
	metallb := map[string]any{
		"/api":                     metav1.APIVersions{Versions: []string{"v1"}},
		"/apis":                    groups,
		"/apis/metallb.io/v1beta1": resources("metallb.io/v1beta1", "ipaddresspools", "ipaddresspools/status", "l2advertisements", "bgppeers"),
		"/apis/metallb.io/v1beta2": resources("metallb.io/v1beta2", "bgppeers"),
		"/apis/metallb.io/v1beta1/ipaddresspools":   list("IPAddressPool", "metallb.io/v1beta1", simplePool),
		"/apis/metallb.io/v1beta1/l2advertisements": list("L2Advertisement", "metallb.io/v1beta1", simpleAdvertisement),
		"/apis/metallb.io/v1beta2/bgppeers":         list("BGPPeer", "metallb.io/v1beta2", peer),
	}
	old := map[string]any{
		"/api":  metav1.APIVersions{Versions: []string{"v1"}},
		"/apis": metav1.APIGroupList{},
		"/api/v1/namespaces/metallb-system/configmaps/config": json.RawMessage(
			`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"config","namespace":"metallb-system"},"data":{"config":"address-pools: []"}}`),
	}
	tests := []struct {
		name    string
		objects map[string]any
		want    ran
	}{
		{"MetalLB 0.13", metallb, ran{exitNo, migrated, "BGPPeer tor: not carried over: Invar works in Layer 2 only\n"}},
		{"MetalLB 0.12", old, ran{exitOK, "", "nothing to migrate: ConfigMap metallb-system/config is the configuration of MetalLB 0.8 " +
			"to 0.12, which Invar reads as it is; check it with invar validate\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := runLine(t, "invar migrate --kubeconfig config", "", map[string]string{"config": apiServer(t, tt.objects)})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("migrate (-want +got):\n%s", diff)
			}
		})
	}
}
