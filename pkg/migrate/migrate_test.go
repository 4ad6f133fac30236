package migrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/ipam"
	"github.com/invar-lb/invar/pkg/migrate"
)

// update writes the golden files anew; read the difference before committing it.
var update = os.Getenv("GOLDEN_UPDATE") == "1"

// documents returns the documents of a YAML text as JSON.
func documents(t *testing.T, text string) []json.RawMessage {
	t.Helper()
	var out []json.RawMessage
	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var doc any
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		out = append(out, marshal(t, doc))
	}
}

func marshal(t *testing.T, v any) json.RawMessage {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	return text
}

// TestResources converts an installation of each kind, and compares the configuration and what is lost.
func TestResources(t *testing.T) {
	names, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("list testdata: %d files, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := migrate.Convert(documents(t, string(text)))
			if err != nil {
				t.Fatalf("convert: %v", err)
			}
			got := fmt.Sprintf("%d resources\n%s", r.Resources, r.Text())
			for _, l := range r.Losses {
				got += l.String() + "\n"
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			if update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got):\n%s", golden, diff)
			}
			parses(t, r)
		})
	}
}

// parses wants Invar to read the configuration as the pools it was made of.
func parses(t *testing.T, r *migrate.Result) {
	t.Helper()
	cfg, err := config.Parse(r.Text())
	if err != nil {
		t.Fatalf("Invar refuses\n%s\n%v", r.Text(), err)
	}
	if diff := cmp.Diff(r.Pools, cfg.Pools, cmpopts.EquateComparable(ipam.Range{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("pools and what is read of their text (-want +got):\n%s", diff)
	}
}

func TestNoObject(t *testing.T) {
	for text, want := range map[string]string{
		`"hello"`: "read object: json: cannot unmarshal string",
		`{"apiVersion":"metallb.io/v1beta1","kind":"IPAddressPool","metadata":{"name":"a"},"spec":{"addresses":"10.0.0.0/24"}}`: "IPAddressPool a: read spec: json: cannot unmarshal string",
	} {
		if _, err := migrate.Convert([]json.RawMessage{json.RawMessage(text)}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

// An advert is an L2Advertisement as the property test below draws it, and what MetalLB makes of it.
type advert struct {
	pools, racks, interfaces []string
}

func (a advert) announces(pool, rack, iface string) bool {
	in := func(list []string, x string) bool { return len(list) == 0 || slices.Contains(list, x) }
	return in(a.pools, pool) && in(a.racks, rack) && in(a.interfaces, iface)
}

func (a advert) object(name string) map[string]any {
	var nodes []any
	for _, rack := range a.racks {
		nodes = append(nodes, map[string]any{"matchLabels": map[string]any{"rack": rack}})
	}
	return map[string]any{
		"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"ipAddressPools": a.pools, "nodeSelectors": nodes, "interfaces": a.interfaces},
	}
}

// TestWhereAnnounced draws advertisements and compares where MetalLB announces each pool with where Invar does: never less,
// and more only if that is said of the pool.
func TestWhereAnnounced(t *testing.T) {
	pools, racks, interfaces := []string{"a", "b", "c"}, []string{"1", "2", "3"}, []string{"eth0", "eth1", "eth2"}
	told := 0
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 0))
		some := func(list []string) (out []string) {
			if rng.IntN(3) == 0 {
				return nil
			}
			for _, x := range list {
				if rng.IntN(3) == 0 {
					out = append(out, x)
				}
			}
			return out
		}
		var objects []json.RawMessage
		for i, p := range pools {
			objects = append(objects, marshal(t, map[string]any{
				"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": map[string]any{"name": p},
				"spec": map[string]any{"addresses": []string{fmt.Sprintf("10.0.%d.0/24", i)}},
			}))
		}
		var ads []advert
		for i := range rng.IntN(4) {
			a := advert{some(pools), some(racks), some(interfaces)}
			ads = append(ads, a)
			objects = append(objects, marshal(t, a.object(fmt.Sprint("ad", i))))
		}
		r, err := migrate.Convert(objects)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		parses(t, r)
		for i := range r.Pools {
			p := &r.Pools[i]
			said := slices.ContainsFunc(r.Losses, func(l migrate.Loss) bool { return l.Object == "IPAddressPool "+p.Name })
			more := false
			for _, rack := range racks {
				for _, iface := range interfaces {
					old := slices.ContainsFunc(ads, func(a advert) bool { return a.announces(p.Name, rack, iface) })
					now := p.SelectsNode(map[string]string{"rack": rack}) &&
						(len(p.Interfaces) == 0 || slices.Contains(p.Interfaces, iface))
					more = more || now && !old
					if old && !now {
						t.Fatalf("seed %d: pool %s is not announced in rack %s on %s any more: %+v\n%s", seed, p.Name, rack, iface, ads, r.Text())
					}
				}
			}
			if more && !said {
				t.Fatalf("seed %d: pool %s is announced in more places, and nothing says so: %+v\n%s", seed, p.Name, ads, r.Text())
			}
			if said {
				told++
			}
		}
	}
	if told == 0 {
		t.Error("nothing was ever lost: the test draws too little")
	}
}
