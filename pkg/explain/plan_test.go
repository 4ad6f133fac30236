package explain_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/invar-lb/invar/pkg/config"
	"github.com/invar-lb/invar/pkg/explain"
	"github.com/invar-lb/invar/pkg/ipam"
)

// parse returns the configuration of lines such as "default 192.168.1.160/31", each a pool, with more keys after them.
func parse(t *testing.T, pools ...string) *config.Config {
	t.Helper()
	var b strings.Builder
	b.WriteString("address-pools:\n")
	for _, p := range pools {
		fields := strings.SplitN(p, " ", 3)
		fmt.Fprintf(&b, "- {name: %s, protocol: layer2, addresses: [%s]", fields[0], fields[1])
		if len(fields) > 2 {
			b.WriteString(", " + fields[2])
		}
		b.WriteString("}\n")
	}
	cfg, err := config.Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// applicant returns a Service in namespace default that wants an IPv4 address, made age seconds after the first.
func applicant(name string, age int, shown ...string) explain.Applicant {
	a := explain.Applicant{
		Request: ipam.Request{
			Service: "default/" + name, Namespace: "default", Families: []ipam.Family{ipam.IPv4},
			Ports: []ipam.Port{{Protocol: "TCP", Port: 80}},
		},
		Created: time.Date(2026, 1, 1, 0, 0, age, 0, time.UTC),
	}
	for _, s := range shown {
		a.Shown = append(a.Shown, netip.MustParseAddr(s))
	}
	return a
}

// text returns a plan in lines.
func text(p *explain.Plan) string {
	var b strings.Builder
	for _, c := range p.Pools {
		fmt.Fprintf(&b, "pool %s %s %d/%d -> %d/%d\n", c.Name, c.Change, c.Before.InUse, c.Before.Total, c.After.InUse, c.After.Total)
		for _, d := range c.Details {
			fmt.Fprintf(&b, "  %s\n", d)
		}
	}
	for _, o := range p.Services {
		already := ""
		if o.Already {
			already = " already"
		}
		fmt.Fprintf(&b, "%s %s%s %v -> %v %s: %s\n", o.Service, o.Fate, already, o.Before, o.After, o.Reason, o.Message)
	}
	return b.String()
}

func TestPredict(t *testing.T) {
	reallocating := applicant("web", 0, "10.0.0.1")
	reallocating.Reallocate = true
	invalid := applicant("web", 0, "10.0.0.1")
	invalid.Invalid = fmt.Errorf("no address at all")
	asking := applicant("web", 0, "10.0.0.1")
	asking.Pool = "edge"
	for _, tt := range []struct {
		name      string
		now, next *config.Config
		services  []explain.Applicant
		want      string
	}{
		{
			name: "nothing changes",
			now:  parse(t, "default 10.0.0.0/30"), next: parse(t, "default 10.0.0.0/30"),
			services: []explain.Applicant{applicant("web", 0, "10.0.0.1")},
			want: `pool default same 1/4 -> 1/4
default/web keeps [10.0.0.1] -> [10.0.0.1] Allocated: 10.0.0.1 from pool default
`,
		},
		{
			name: "a pool shrinks under a Service",
			now:  parse(t, "default 10.0.0.0/30"), next: parse(t, "default 10.0.0.0/32"),
			services: []explain.Applicant{applicant("web", 0, "10.0.0.1"), applicant("api", 1, "10.0.0.0")},
			want: `pool default changed 2/4 -> 1/1
  addresses: 10.0.0.0/32, was 10.0.0.0/30
default/web stranded [10.0.0.1] -> [10.0.0.1] Stranded: 10.0.0.1 from pool default; 10.0.0.1 lies in no pool any more and stays until the Service asks for another address or is annotated invar.io/reallocate: "true"
default/api keeps [10.0.0.0] -> [10.0.0.0] Allocated: 10.0.0.0 from pool default
`,
		},
		{
			name: "stranded already",
			now:  parse(t, "default 10.0.0.0/32"), next: parse(t, "default 10.0.0.0/32 auto-assign: false"),
			services: []explain.Applicant{applicant("web", 0, "10.0.0.1")},
			want: `pool default changed 0/1 -> 0/1
  auto-assign: false, was true
default/web stranded already [10.0.0.1] -> [10.0.0.1] Stranded: 10.0.0.1; 10.0.0.1 lies in no pool any more and stays until the Service asks for another address or is annotated invar.io/reallocate: "true"
`,
		},
		{
			name: "the oldest of those that wait gets the new address",
			now:  parse(t, "default 10.0.0.0/32"), next: parse(t, "default 10.0.0.0/31"),
			services: []explain.Applicant{applicant("young", 9), applicant("old", 3), applicant("first", 0, "10.0.0.0")},
			want: `pool default changed 1/1 -> 2/2
  addresses: 10.0.0.0/31, was 10.0.0.0/32
default/first keeps [10.0.0.0] -> [10.0.0.0] Allocated: 10.0.0.0 from pool default
default/old gets [] -> [10.0.0.1] Allocated: 10.0.0.1 from pool default
default/young waits [] -> [] Refused: pool default: 2 of 2 addresses in use
`,
		},
		{
			name: "the older one takes what the younger one asks for",
			now:  parse(t, "default 10.0.0.1/32", "edge 10.0.1.0/32 auto-assign: false"), next: parse(t, "default 10.0.0.1/32", "edge 10.0.1.0/32 auto-assign: true"),
			services: []explain.Applicant{applicant("api", 0), asking},
			want: `pool default same 1/1 -> 1/1
pool edge changed 0/1 -> 1/1
  auto-assign: true, was false
default/api gets [] -> [10.0.1.0] Allocated: 10.0.1.0 from pool edge
default/web keeps [10.0.0.1] -> [10.0.0.1] Refused: pool edge: 1 of 1 addresses in use; it keeps 10.0.0.1
`,
		},
		{
			name: "reallocate",
			now:  parse(t, "default 10.0.0.0/30"), next: parse(t, "other 10.0.1.0/30"),
			services: []explain.Applicant{reallocating},
			want: `pool other added 0/0 -> 1/4
pool default removed 1/4 -> 0/0
default/web moves [10.0.0.1] -> [10.0.1.0] Allocated: 10.0.1.0 from pool other
`,
		},
		{
			name: "nothing in force, and a request that can't be understood",
			next: parse(t, "b 10.0.0.0/30 priority: 1", "a 10.0.1.0/24"), services: []explain.Applicant{invalid},
			want: `pool b added 0/0 -> 1/4
pool a added 0/0 -> 0/256
default/web keeps [10.0.0.1] -> [10.0.0.1] InvalidRequest: no address at all
`,
		},
		{
			name: "two show one address",
			now:  parse(t, "default 10.0.0.0/30"), next: parse(t, "default 10.0.0.0/30"),
			services: []explain.Applicant{applicant("b", 0, "10.0.0.1"), applicant("a", 0, "10.0.0.1")},
			want: `pool default same 1/4 -> 2/4
default/a keeps [10.0.0.1] -> [10.0.0.1] Allocated: 10.0.0.1 from pool default
default/b moves [10.0.0.1] -> [10.0.0.0] Allocated: 10.0.0.0 from pool default
`,
		},
		{
			name: "pools change places, and every key",
			now:  parse(t, "a 10.0.0.0/32", "b 10.0.1.0/32", "c 10.0.2.0/32", "d 10.0.3.0/24"),
			next: parse(t, "new 10.0.9.0/32", "b 10.0.1.0/32", "a 10.0.0.0/32",
				"d 10.0.3.0/24 avoid-buggy-ips: true, priority: 2, namespaces: [web], namespace-selectors: [{match-labels: {team: x}}], "+
					"service-selectors: [{match-expressions: [{key: app, operator: In, values: [a, b]}, {key: old, operator: DoesNotExist}]}, {}], "+
					"node-selectors: [{match-expressions: [{key: rack, operator: NotIn, values: [a]}, {key: up, operator: Exists}]}], interfaces: [eth0]"),
			want: `pool new added 0/0 -> 0/1
pool b moved 0/1 -> 0/1
pool a moved 0/1 -> 0/1
pool d changed 0/256 -> 0/254
  avoid-buggy-ips: true, was false
  priority: 2, was 0
  namespaces: web, was none
  namespace-selectors: team=x, was none
  service-selectors: app in (a,b),!old or everything, was none
  node-selectors: rack notin (a),up, was none
  interfaces: eth0, was none
pool c removed 0/1 -> 0/0
`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := explain.Predict(tt.now, tt.next, tt.services)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, text(plan)); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			strands := 0
			for _, o := range plan.Services {
				if o.Fate == explain.Stranded && !o.Already {
					strands++
				}
			}
			if got := len(plan.Strands()); got != strands {
				t.Errorf("%d Services are stranded anew, want %d", got, strands)
			}
		})
	}
}
