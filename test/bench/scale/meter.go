package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/rig"
)

// meter takes figures of the daemons and of the API server.
type meter struct {
	*fleet
	controller string // pod
	pids       map[string]int
}

// servers are those whose cost is shown beside the daemons'.
const (
	apiServer  = "kube-apiserver"
	etcd       = "etcd"
	controller = "controller"
)

func newMeter(ctx context.Context, f *fleet) (*meter, error) {
	m := &meter{fleet: f, pids: map[string]int{}}
	var err error
	for _, name := range []string{apiServer, etcd} {
		if m.pids[name], err = f.ServerPID(name); err != nil {
			return nil, err
		}
	}
	const labels = "app=metallb,component=controller"
	if m.pids[controller], err = f.PID(ctx, cluster.Namespace, labels, "", "controller"); err != nil {
		return nil, err
	}
	pods, err := f.Kube.CoreV1().Pods(cluster.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return nil, fmt.Errorf("find controller: %w", err)
	}
	m.controller = pods.Items[0].Name
	for _, account := range []string{"controller", "speaker"} {
		if err := f.countRequests(ctx, account); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// flowOf is the name under which kube-apiserver counts the requests of one of the daemons.
func flowOf(account string) string { return "bench-" + account }

// countRequests makes kube-apiserver count the requests of a service account by themselves: they get a FlowSchema of their own, and
// the priority that all service accounts have.
func (f *fleet) countRequests(ctx context.Context, account string) error {
	_, err := f.Kube.FlowcontrolV1().FlowSchemas().Create(ctx, &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: flowOf(account)},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "workload-low"},
			MatchingPrecedence:         1000,
			DistinguisherMethod:        &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{
					Kind:           flowcontrolv1.SubjectKindServiceAccount,
					ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Namespace: cluster.Namespace, Name: account},
				}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, Namespaces: []string{"*"}, ClusterScope: true,
				}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create FlowSchema: %w", err)
	}
	return nil
}

// reading is what the meter shows at a moment. Only differences of two have a meaning.
type reading struct {
	at       time.Time
	cpu      map[string]time.Duration // by server
	speakers []speakerReading
	requests map[string]float64 // by service account
}

type speakerReading struct {
	cpu time.Duration
	traffic
	syncs float64
}

// read takes a reading, at the begin of a phase or at its end. What it costs the speakers to be asked falls outside of the phase.
func (m *meter) read(ctx context.Context, begin bool) (r reading, err error) {
	r = reading{cpu: map[string]time.Duration{}, requests: map[string]float64{}, speakers: make([]speakerReading, len(m.speakers))}
	steps := []func(context.Context, *reading) error{m.readMetrics, m.readProcesses}
	if !begin {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(ctx, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// readMetrics asks the speakers and kube-apiserver.
func (m *meter) readMetrics(ctx context.Context, r *reading) error {
	err := rig.Each(ctx, len(m.speakers), func(ctx context.Context, i int) error {
		lines, err := m.Metrics(ctx, m.speakers[i].pod, syncsMetric)
		if err == nil {
			r.speakers[i].syncs, err = cluster.Sum(lines)
		}
		return err
	})
	if err != nil {
		return err
	}
	lines, err := m.APIServerMetrics(ctx, "apiserver_flowcontrol_dispatched_requests_total")
	if err != nil {
		return err
	}
	for _, account := range []string{"controller", "speaker"} {
		own := slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			return !strings.Contains(line, `flow_schema="`+flowOf(account)+`"`)
		})
		if r.requests[account], err = cluster.Sum(own); err != nil {
			return err
		}
	}
	return nil
}

// readProcesses asks the kernel.
func (m *meter) readProcesses(ctx context.Context, r *reading) (err error) {
	for i, s := range m.speakers {
		if s.counted {
			if r.speakers[i].traffic, err = trafficOf(ctx, m.Cluster, s.node); err != nil {
				return err
			}
		}
	}
	r.at = time.Now()
	for i, s := range m.speakers {
		if r.speakers[i].cpu, err = cluster.CPUOf(s.pid); err != nil {
			return err
		}
	}
	for name, pid := range m.pids {
		if r.cpu[name], err = cluster.CPUOf(pid); err != nil {
			return err
		}
	}
	return nil
}

// spread is a figure that each speaker has.
type spread struct {
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`
}

// spreadOf returns the spread of figures, rounded to hundredths.
func spreadOf(figures []float64) spread {
	var s spread
	for _, v := range figures {
		s.Mean += v / float64(len(figures))
		s.Max = max(s.Max, v)
	}
	return spread{rig.Hundredths(s.Mean), rig.Hundredths(s.Max)}
}

// cost is what one of the servers, or the controller, has cost in a phase.
type cost struct {
	RSS      float64 `json:"rss_mb"`             // at the end, in millions of bytes
	Peak     float64 `json:"rss_peak_mb"`        // the most that it ever was
	CPU      float64 `json:"cpu_percent"`        // of one core
	Seconds  float64 `json:"cpu_seconds"`        // of CPU
	Requests float64 `json:"requests,omitempty"` // to kube-apiserver; the controller's only
}

// speakerCost is what speakers have cost in a phase.
type speakerCost struct {
	RSS     spread `json:"rss_mb"`      // at the end
	Anon    spread `json:"anon_mb"`     // of that what is not files
	CPU     spread `json:"cpu_percent"` // of one core
	Seconds spread `json:"cpu_seconds"` // of CPU
	Syncs   spread `json:"syncs"`       // looks at everything
	// Received and Sent are bytes of IP packets from and to kube-apiserver; of the speakers on simulated nodes.
	Received spread `json:"received_bytes"`
	Sent     spread `json:"sent_bytes"`
	// Requests to kube-apiserver, watches included: the mean.
	Requests float64 `json:"requests"`
}

// phase is one line of output.
type phase struct {
	Name       string      `json:"phase"`
	Seconds    float64     `json:"seconds"`
	Nodes      int         `json:"nodes"`
	Speakers   int         `json:"speakers"`
	Controller cost        `json:"controller"`
	Speaker    speakerCost `json:"speaker"`
	APIServer  cost        `json:"apiserver"`
	Etcd       cost        `json:"etcd"`
}

// measure runs f between two readings.
func (m *meter) measure(ctx context.Context, name string, f func(context.Context) error) (phase, error) {
	progress("phase %s", name)
	before, err := m.read(ctx, true)
	if err != nil {
		return phase{}, err
	}
	if err := f(ctx); err != nil {
		return phase{}, fmt.Errorf("phase %s: %w", name, err)
	}
	after, err := m.read(ctx, false)
	if err != nil {
		return phase{}, err
	}
	p := phase{Name: name, Seconds: rig.Hundredths(after.at.Sub(before.at).Seconds()), Nodes: m.nodes, Speakers: len(m.speakers)}
	for server, c := range map[string]*cost{controller: &p.Controller, apiServer: &p.APIServer, etcd: &p.Etcd} {
		if *c, err = m.cost(server, before, after); err != nil {
			return phase{}, err
		}
	}
	p.Controller.Requests = after.requests[controller] - before.requests[controller]
	p.Speaker, err = m.speakerCost(before, after)
	return p, err
}

func (m *meter) cost(server string, before, after reading) (cost, error) {
	memory, err := cluster.MemoryOf(m.pids[server])
	seconds := (after.cpu[server] - before.cpu[server]).Seconds()
	return cost{
		RSS: memory.Now, Peak: memory.Peak, Seconds: rig.Hundredths(seconds),
		CPU: rig.Hundredths(100 * seconds / after.at.Sub(before.at).Seconds()),
	}, err
}

func (m *meter) speakerCost(before, after reading) (speakerCost, error) {
	var rss, anon, percent, seconds, syncs, received, sent []float64
	long := after.at.Sub(before.at).Seconds()
	for i, s := range m.speakers {
		memory, err := cluster.MemoryOf(s.pid)
		if err != nil {
			return speakerCost{}, err
		}
		b, a := before.speakers[i], after.speakers[i]
		took := (a.cpu - b.cpu).Seconds()
		rss, anon = append(rss, memory.Now), append(anon, memory.Anon)
		seconds, percent = append(seconds, took), append(percent, 100*took/long)
		syncs = append(syncs, a.syncs-b.syncs)
		if s.counted {
			received = append(received, float64(a.received-b.received))
			sent = append(sent, float64(a.sent-b.sent))
		}
	}
	return speakerCost{
		RSS: spreadOf(rss), Anon: spreadOf(anon), CPU: spreadOf(percent), Seconds: spreadOf(seconds), Syncs: spreadOf(syncs),
		Received: spreadOf(received), Sent: spreadOf(sent),
		Requests: rig.Hundredths((after.requests["speaker"] - before.requests["speaker"]) / float64(len(m.speakers))),
	}, nil
}
