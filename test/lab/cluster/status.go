package cluster

import (
	"context"

	"github.com/invar-lb/invar/test/lab/cgroup"
	"github.com/invar-lb/invar/test/lab/plan"
	"github.com/invar-lb/invar/test/lab/state"
	"github.com/invar-lb/invar/test/lab/wire"
)

// Status is what a lab consists of and how it is.
type Status struct {
	Name       string          `json:"name"`
	Dir        string          `json:"dir"`
	Kubeconfig string          `json:"kubeconfig"`
	ProxyMode  string          `json:"proxyMode"`
	Hosts      []HostStatus    `json:"hosts"`
	Processes  []ProcessStatus `json:"processes"`
}

// HostStatus describes one host.
type HostStatus struct {
	Name      string    `json:"name"`
	Role      plan.Role `json:"role"`
	Netns     string    `json:"netns"` // path
	Interface string    `json:"interface"`
	MAC       string    `json:"mac"`
	IPv4      string    `json:"ipv4"`
	IPv6      string    `json:"ipv6"`
	Ready     bool      `json:"ready"` // node: condition Ready; control plane: /readyz; others: always
	Cut       bool      `json:"cut"`
	Apart     bool      `json:"apart"` // in the part of the LAN that a partition has split off
	Frozen    bool      `json:"frozen"`
}

// ProcessStatus describes one process.
type ProcessStatus struct {
	Name  string `json:"name"`
	Host  string `json:"host"`
	PID   int    `json:"pid"`
	Alive bool   `json:"alive"`
}

// GetStatus looks at a lab. What cannot be reached is reported as not ready. The error is ErrDown if there is no lab.
func GetStatus(ctx context.Context, name string) (Status, error) {
	st, err := load(name)
	if err != nil {
		return Status{}, err
	}
	lab := st.Lab()
	ready := readyHosts(ctx, lab)
	status := Status{Name: name, Dir: lab.RunDir(), Kubeconfig: lab.Kubeconfig(), ProxyMode: lab.ProxyMode}
	for _, h := range lab.Hosts() {
		status.Hosts = append(status.Hosts, hostStatus(ctx, lab, h, ready[h.Name]))
	}
	status.Processes = processStatus(st)
	return status, nil
}

func hostStatus(ctx context.Context, lab plan.Lab, h plan.Host, ready bool) HostStatus {
	port, err := wire.PortOf(ctx, lab, h)
	port.Cut = port.Cut || err != nil // no switch, no cable
	frozen, err := cgroup.Frozen(h.Cgroup)
	return HostStatus{
		Name: h.Name, Role: h.Role, Netns: plan.NetnsPath(h.Netns), Interface: plan.Interface, MAC: h.MAC,
		IPv4: h.IPv4.String(), IPv6: h.IPv6.String(), Ready: ready, Cut: port.Cut, Apart: port.Apart,
		Frozen: frozen && err == nil,
	}
}

// readyHosts tells which hosts are ready; none of the cluster's if kube-apiserver does not answer.
func readyHosts(ctx context.Context, lab plan.Lab) map[string]bool {
	laid := wire.Laid(lab)
	ready := map[string]bool{lab.Client().Name: laid, lab.Router().Name: laid, lab.Outside().Name: laid}
	c, err := client(lab)
	if err != nil {
		return ready
	}
	if ok, err := serving(ctx, c); err != nil || !ok {
		return ready
	}
	ready[lab.ControlPlane().Name] = true
	nodes, err := readyNodes(ctx, c)
	if err != nil {
		return ready
	}
	for name := range nodes {
		ready[name] = true
	}
	return ready
}

func processStatus(st *state.State) []ProcessStatus {
	var list []ProcessStatus
	for _, p := range st.Processes {
		list = append(list, ProcessStatus{Name: p.Name, Host: p.Host, PID: p.PID, Alive: p.Alive()})
	}
	return list
}
