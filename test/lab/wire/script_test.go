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
}

// TestRoutes checks for the largest lab that every host of the cluster has a route to the pods of every other node,
// and others to none.
func TestRoutes(t *testing.T) {
	lab := plan.Lab{Name: "lab", Nodes: plan.MaxNodes}
	for _, h := range lab.Hosts() {
		script := hostScript(lab, h)
		for _, n := range lab.NodeHosts() {
			want := (h.Role == plan.Node || h.Role == plan.ControlPlane) && h.Name != n.Name
			for _, route := range []string{
				fmt.Sprintf("route add %s via %s\n", n.PodsV4, n.IPv4), fmt.Sprintf("route add %s via %s\n", n.PodsV6, n.IPv6),
			} {
				if got := strings.Contains(script, route); got != want {
					t.Errorf("%s: %q: %t, want %t", h.Name, route, got, want)
				}
			}
		}
	}
}

func TestIsDown(t *testing.T) {
	for _, tt := range []struct {
		what, answer string
		want, err    bool
	}{
		{"up", `[{"ifname":"p","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"]}]`, false, false},
		{"up without carrier", `[{"ifname":"p","flags":["NO-CARRIER","BROADCAST","UP"]}]`, false, false},
		{"down", `[{"ifname":"p","flags":["BROADCAST","MULTICAST"]}]`, true, false},
		{"none", `[]`, true, false},
		{"nonsense", `Device "p" does not exist.`, false, true},
	} {
		if got, err := isDown([]byte(tt.answer)); got != tt.want || (err != nil) != tt.err {
			t.Errorf("%s: %t, %v, want %t and error %t", tt.what, got, err, tt.want, tt.err)
		}
	}
}
