//go:build e2e

package upgrade

import (
	"net/netip"
	"testing"
)

// TestMetalLB replaces a MetalLB 0.12 that is in use by this Invar, puts it back, and replaces it again.
func TestMetalLB(t *testing.T) {
	install(t, metalLB(t))
	addrs := services(t)
	before := workloads(t)

	toInvar(t, addrs, before, "MetalLB 0.12 to this Invar")
	wantRoles(t, "config-watcher", "controller", "pod-lister", "speaker") // pod-lister is MetalLB's: the README says how to remove it

	w := observe(t, addrs)
	apply(t, metalLB(t))
	ready(t)
	wantKept(t, addrs)
	all, noise := w.end(t, "this Invar to MetalLB 0.12")
	wantShort(t, all, noise) // and for a while two answer: MetalLB's speakers don't ask who else does
	wantOnly(t, metalLB(t))
	wantReplaced(t, before, metalLB(t))
	wantNoConflicts(t, addrs)
	lab.Create(t, "later") // what Invar has left behind is in nobody's way
	lab.WantAddresses(t, "later", "192.168.1.163")
	lab.WantHTTP(t, "192.168.1.163")
	lab.WantHolder(t, "192.168.1.163")
	lab.Remove(t, "later")

	toInvar(t, addrs, before, "MetalLB 0.12 to this Invar again")
}

// toInvar replaces MetalLB.
func toInvar(t *testing.T, addrs map[string]netip.Addr, before map[string]identity, what string) {
	t.Helper()
	w := observe(t, addrs)
	apply(t, thisInvar(t))
	ready(t)
	wantKept(t, addrs)
	all, noise := w.end(t, what)
	wantShort(t, all, noise)
	wantOne(t, all)
	wantOnly(t, thisInvar(t))
	wantReplaced(t, before, thisInvar(t))
	wantConditions(t, addrs)
	wantNoConflicts(t, addrs)
}
