package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteCNI(t *testing.T) {
	dir := t.TempDir()
	env, conf := filepath.Join(dir, "subnet.env"), filepath.Join(dir, "net.d", "10-flannel.conflist")
	lines := "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.2.1/24\n" +
		"FLANNEL_IPV6_NETWORK=fd00:10:244::/48\nFLANNEL_IPV6_SUBNET=fd00:10:244:2::1/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
	if err := os.WriteFile(env, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeCNI(conf, env); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"cniVersion": "1.0.0", "name": "cbr0", "plugins": []any{map[string]any{
		"type": "bridge", "bridge": "cni0", "mtu": 1450., "isDefaultGateway": true, "hairpinMode": true, "ipMasq": false,
		"ipam": map[string]any{
			"type": "host-local",
			"ranges": []any{
				[]any{map[string]any{"subnet": "10.244.2.0/24"}}, []any{map[string]any{"subnet": "fd00:10:244:2::/64"}},
			},
			"routes": []any{map[string]any{"dst": "10.244.0.0/16"}, map[string]any{"dst": "fd00:10:244::/48"}},
		},
	}}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	files, err := os.ReadDir(filepath.Dir(conf))
	if err != nil || len(files) != 1 {
		t.Errorf("files beside it: %v, %v", files, err)
	}
}

func TestCNIConfErrors(t *testing.T) {
	for env, want := range map[string]string{
		"":                                      "find MTU and subnet",
		"FLANNEL_MTU=1450\n":                    "find MTU and subnet",
		"FLANNEL_SUBNET=10.244.2.1/24\n":        "find MTU and subnet",
		"FLANNEL_MTU=many\n":                    "parse FLANNEL_MTU",
		"FLANNEL_SUBNET=10.244.2.1\n":           "parse FLANNEL_SUBNET",
		"FLANNEL_NETWORK=10.244.0.0/99\n":       "parse FLANNEL_NETWORK",
		"FLANNEL_IPV6_SUBNET=fd00:10:244:2::\n": "parse FLANNEL_IPV6_SUBNET",
	} {
		if _, err := cniConf(env); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("cniConf(%q): error %v, want %s", env, err, want)
		}
	}
}
