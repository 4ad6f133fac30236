//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// TestPlan asks what a configuration would do, applies it, and wants just that.
func TestPlan(t *testing.T) {
	lab.Configure(t, pools(pool("default", "192.168.1.160-192.168.1.162"), pool("asked", "192.168.1.170/32", "auto-assign: false")))
	lab.Create(t, "keeps")
	lab.WantAddresses(t, "keeps", "192.168.1.160")
	lab.Create(t, "stranded")
	lab.WantAddresses(t, "stranded", "192.168.1.161")
	lab.Create(t, "moves", clustertest.Annotated(kube.AnnotationReallocate, "true"))
	lab.WantAddresses(t, "moves", "192.168.1.162")
	for _, name := range []string{"gets", "waits"} {
		lab.Create(t, name)
		lab.WantAddresses(t, name)
	}
	next := pools(pool("default", "192.168.1.160/32"), pool("asked", "192.168.1.170-192.168.1.171"))
	manifest := "kind: ConfigMap\nmetadata: {name: config}\ndata:\n  config: |\n    " + strings.ReplaceAll(next, "\n", "\n    ")
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	invar(t, 0, "validate", file)
	t.Log("\n" + invar(t, 3, "plan", file).Out)
	var plan explain.Plan
	if err := json.Unmarshal([]byte(invar(t, 3, "plan", file, "-o", "json").Out), &plan); err != nil {
		t.Fatal(err)
	}
	fates := map[string]explain.Fate{}
	lab.SetConfig(t, next)
	for _, o := range plan.Services {
		name := strings.TrimPrefix(o.Service, clustertest.Namespace+"/")
		fates[name] = o.Fate
		var want []string
		for _, a := range o.After {
			want = append(want, a.String())
		}
		lab.WantAddresses(t, name, want...)
		wantCondition(t, clustertest.Namespace, name, o.Reason, "")
	}
	for _, name := range []string{"keeps", "stranded", "moves", "gets", "waits"} {
		if string(fates[name]) != name {
			t.Errorf("the plan says that Service %s %s", name, fates[name])
		}
	}
}
