package manifests

import (
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/invar-lb/invar/pkg/config"
)

// minimal is the smallest useful configuration, which a MetalLB user has word for word.
const minimal = `apiVersion: v1
kind: ConfigMap
metadata:
  namespace: metallb-system
  name: config
data:
  config: |
    address-pools:
    - name: default
      protocol: layer2
      addresses:
      - 192.168.1.160-192.168.1.169
`

func TestMinimalSample(t *testing.T) {
	diff(t, "config/samples/layer2.yaml", minimal, string(read(t, "config/samples/layer2.yaml")))
}

// TestSamples checks that each sample is the ConfigMap that the binaries watch, with the one key that they read, and without a
// mistake.
func TestSamples(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(root, "config/samples/*.yaml"))
	if err != nil || len(paths) < 3 {
		t.Fatalf("found samples %q, %v", paths, err)
	}
	for _, path := range paths {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			objects := load(t, "config/samples/"+name)
			diff(t, "number of objects", 1, len(objects))
			cm, ok := objects[0].(*corev1.ConfigMap)
			if !ok {
				t.Fatalf("is a %T", objects[0])
			}
			diff(t, "name", "metallb-system/config", cm.Namespace+"/"+cm.Name)
			if len(cm.Data) != 1 || cm.Data["config"] == "" {
				t.Errorf("wants one key, config, in data, has %v", cm.Data)
			}
			cfg, err := config.Parse(cm.Data["config"])
			if err != nil {
				t.Fatal(err)
			}
			if len(cfg.Pools) == 0 || len(cfg.Warnings) != 0 {
				t.Errorf("has %d pools and the warnings %v, wants pools and no warning", len(cfg.Pools), cfg.Warnings)
			}
		})
	}
}
