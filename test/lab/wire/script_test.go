package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/invar-lb/invar/test/lab/labtest"
	"github.com/invar-lb/invar/test/lab/plan"
)

func TestScripts(t *testing.T) {
	lab := plan.Lab{Name: "lab", Nodes: 2}
	labtest.Golden(t, "namespaces.ip", addNamespaces(lab))
	labtest.Golden(t, "switch.ip", switchScript(lab))
	for _, name := range []string{"control-plane", "node1", "client", "router", "outside"} {
		h, err := lab.Host(name)
		if err != nil {
			t.Fatal(err)
		}
		labtest.Golden(t, name+".ip", hostScript(lab, h))
	}
	labtest.Golden(t, "masquerade.nft", masquerade())
	labtest.Golden(t, "partition.ip", partitionScript(lab.NodeHosts()))
	labtest.Golden(t, "unite.ip", uniteScript(lab))
}

// TestRoutes checks for the largest lab that every host of the cluster has a route to the pods of every other node,
// and others to none.
func TestRoutes(t *testing.T) {
	lab := plan.Lab{Name: "lab", Nodes: plan.MaxNodes}
	flannel, err := lab.With(plan.Options{PodNetwork: "flannel"})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range lab.Hosts() {
		script, withFlannel := hostScript(lab, h), hostScript(flannel, h)
		for _, n := range lab.NodeHosts() {
			want := (h.Role == plan.Node || h.Role == plan.ControlPlane) && h.Name != n.Name
			for _, route := range []string{
				fmt.Sprintf("route add %s via %s\n", n.PodsV4, n.IPv4), fmt.Sprintf("route add %s via %s\n", n.PodsV6, n.IPv6),
			} {
				if got := strings.Contains(script, route); got != want {
					t.Errorf("%s: %q: %t, want %t", h.Name, route, got, want)
				}
				if got, want := strings.Contains(withFlannel, route), h.Role == plan.ControlPlane; got != want {
					t.Errorf("%s with flannel: %q: %t, want %t", h.Name, route, got, want)
				}
			}
		}
	}
}

func TestPortOf(t *testing.T) {
	for _, tt := range []struct {
		what, answer string
		want         Port
		err          bool
	}{
		{"up", `[{"ifname":"p","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"master":"lan"}]`, Port{}, false},
		{"up without carrier", `[{"ifname":"p","flags":["NO-CARRIER","BROADCAST","UP"]}]`, Port{}, false},
		{"down", `[{"ifname":"p","flags":["BROADCAST","MULTICAST"],"master":"lan"}]`, Port{Cut: true}, false},
		{"apart", `[{"ifname":"p","flags":["UP"],"master":"lan2"}]`, Port{Apart: true}, false},
		{"apart and down", `[{"ifname":"p","flags":[],"master":"lan2"}]`, Port{Cut: true, Apart: true}, false},
		{"none", `[]`, Port{Cut: true}, false},
		{"nonsense", `Device "p" does not exist.`, Port{}, true},
	} {
		links, err := parseLinks([]byte(tt.answer))
		if (err != nil) != tt.err {
			t.Errorf("%s: %v, want error %t", tt.what, err, tt.err)
		}
		if err == nil && portOf(links) != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.what, portOf(links), tt.want)
		}
	}
}
