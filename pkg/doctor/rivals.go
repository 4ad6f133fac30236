package doctor

import (
	"strings"
)

// A rival is a load balancer that gives or announces addresses of Services, too.
type rival struct {
	name string
	is   func(w *Workload) bool
	do   string
}

// rivals are those that are known. What they look for are the names under which their projects publish them.
var rivals = []rival{
	{
		name: "k3s ServiceLB",
		is: func(w *Workload) bool {
			_, ok := w.Labels["svccontroller.k3s.cattle.io/svcname"]
			return ok
		},
		do: "add servicelb to disable: in /etc/rancher/k3s/config.yaml of each server and restart k3s",
	},
	{
		name: "kube-vip for Services",
		is:   func(w *Workload) bool { return w.image("kube-vip/kube-vip") && w.Env["svc_enable"] == "true" },
		do:   "set svc_enable to \"false\" there, which leaves kube-vip the address of the API server",
	},
	{
		name: "kube-vip's cloud provider",
		is:   func(w *Workload) bool { return w.image("kube-vip-cloud-provider") },
		do:   "remove it",
	},
	{
		name: "Cilium's L2 announcements",
		is:   func(w *Workload) bool { return strings.HasPrefix(w.Name, "CiliumL2AnnouncementPolicy ") },
		do:   "set l2announcements.enabled=false in Cilium's Helm values, or delete its CiliumL2AnnouncementPolicies",
	},
	{
		name: "Cilium's LB IPAM",
		is:   func(w *Workload) bool { return strings.HasPrefix(w.Name, "CiliumLoadBalancerIPPool ") },
		do:   "delete its CiliumLoadBalancerIPPools, or give them a serviceSelector that leaves these Services out",
	},
	{name: "PureLB", is: func(w *Workload) bool { return w.image("purelb/") }, do: "remove it, or this"},
	{name: "OpenELB", is: func(w *Workload) bool { return w.image("openelb") || w.image("kubesphere/porter") }, do: "remove it, or this"},
	{
		name: "MetalLB",
		is: func(w *Workload) bool {
			return w.image("metallb/speaker") || w.image("metallb/controller") || w.Labels["app.kubernetes.io/name"] == "metallb"
		},
		do: "remove it; what it has configured invar migrate can carry over",
	},
	{
		name: "another Invar",
		is:   func(w *Workload) bool { return w.image("invar-lb/invar") },
		do:   "remove one of the two, or give them different classes with --lb-class",
	},
}

// image reports whether one of the images has part in its name.
func (w *Workload) image(part string) bool {
	for _, image := range w.Images {
		name, _, _ := strings.Cut(image, "@")
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// checkRivals looks for other load balancers for the same Services.
func checkRivals(f *Facts) []Finding {
	if f.FlagsUnknown {
		return nil // nor is known which class of Services is Invar's
	}
	var out []Finding
	for _, r := range rivals {
		var evidence []string
		for i := range f.Workloads {
			w := &f.Workloads[i]
			if w.Own || w.Class != f.LBClass || !r.is(w) {
				continue
			}
			line := w.Name
			if len(w.Images) > 0 {
				line += ", image " + strings.Join(w.Images, ", ")
			}
			evidence = append(evidence, line)
		}
		out = append(out, one("rival", r.name+" serves the same Services: both give addresses, and both answer for them",
			shortened(evidence), r.do)...)
	}
	return out
}
