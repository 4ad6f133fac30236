package monitoring

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"sigs.k8s.io/yaml"
)

// rules are the alerts of config/monitoring/rules.yaml, as the Prometheus Operator and then Prometheus read them.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	spec := decode[monitoringv1.PrometheusRule](t, "config/monitoring/rules.yaml")[0].Spec
	text, err := yaml.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Errorf("rules.yaml: %v", err)
	}
	if t.Failed() {
		t.FailNow()
	}
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func TestRulesUseWhatIsThere(t *testing.T) {
	all := metrics(t)
	seen := map[string]bool{}
	for _, r := range rules(t) {
		if err := checkExpr(all, r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		if seen[r.Alert] {
			t.Errorf("%s is there twice", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q, want warning or critical", r.Alert, s)
		}
		for _, a := range []string{"summary", "description"} {
			if r.Annotations[a] == "" {
				t.Errorf("%s has no %s", r.Alert, a)
			}
		}
	}
}

// healthy is a cluster of three nodes, an address for each, in which nothing is wrong; for half an hour.
var healthy = []string{
	`metallb_k8s_client_config_stale_bool{namespace="m", pod="c-0", container="controller"} 0x30`,
	`metallb_k8s_client_config_loaded_bool{namespace="m", pod="c-0", container="controller"} 1x30`,
	`metallb_allocator_addresses_in_use_total{namespace="m", pod="c-0", pool="default"} 3x30`,
	`metallb_allocator_addresses_total{namespace="m", pod="c-0", pool="default"} 10x30`,
	`metallb_allocator_ipv4_addresses_in_use_total{namespace="m", pod="c-0", pool="default"} 3x30`,
	`metallb_allocator_ipv4_addresses_total{namespace="m", pod="c-0", pool="default"} 10x30`,
	`invar_controller_leading_bool{namespace="m", pod="c-0"} 1x30`,
	`invar_controller_services_waiting{namespace="m", pod="c-0"} 0x30`,
	`invar_controller_addresses_stranded{namespace="m", pod="c-0"} 0x30`,
	`metallb_speaker_announced{namespace="m", pod="s-1", ip="192.168.1.160", service="default/a", node="n1"} 1x30`,
	`metallb_speaker_announced{namespace="m", pod="s-2", ip="192.168.1.161", service="default/b", node="n2"} 1x30`,
	`metallb_speaker_announced{namespace="m", pod="s-3", ip="192.168.1.162", service="default/c", node="n3"} 1x30`,
	`invar_speaker_members{namespace="m", pod="s-1"} 3x30`,
	`invar_speaker_members{namespace="m", pod="s-2"} 3x30`,
	`invar_speaker_members{namespace="m", pod="s-3"} 3x30`,
	`invar_speaker_blocked_bool{namespace="m", pod="s-1"} 0x30`,
	`invar_speaker_moves_total{namespace="m", pod="s-1", cause="first"} 1x30`,
	`invar_speaker_moves_total{namespace="m", pod="s-1", cause="failure"} 0x30`,
	`invar_layer2_conflicts{namespace="m", pod="s-1"} 0x30`,
	`invar_layer2_interfaces{namespace="m", pod="s-1"} 1x30`,
	`invar_layer2_sockets_reopened_total{namespace="m", pod="s-1"} 0x30`,
}

// TestAlerts changes series of a healthy cluster and says which alerts fire a time after, and with which words; no others may.
// The series changed replace those of the same labels.
func TestAlerts(t *testing.T) {
	const (
		config  = `{namespace="m", pod="c-0", container="controller"}`
		inUse   = `metallb_allocator_addresses_in_use_total{namespace="m", pod="c-0", pool="default"}`
		members = `invar_speaker_members{namespace="m", pod="s-1"}`
		failed  = `invar_speaker_moves_total{namespace="m", pod="s-1", cause="failure"}`
		reopen  = `invar_layer2_sockets_reopened_total{namespace="m", pod="s-1"}`
	)
	fired := map[string]bool{}
	for _, tt := range []struct {
		name   string
		change []string
		after  int // minutes
		want   []string
	}{
		{name: "healthy", after: 30},
		{
			name: "stale", after: 1, change: []string{`metallb_k8s_client_config_stale_bool` + config + ` 1x30`},
			want: []string{
				`MetalLBStaleConfig: controller on c-0 refuses the newest configuration, or finds none. The last good one stays ` +
					`in force. kubectl -n m describe configmap config names each mistake.`,
			},
		},
		{name: "stale for half a minute only", after: 2, change: []string{
			`metallb_k8s_client_config_stale_bool` + config + ` 1 0x30`,
		}},
		{
			name: "not loaded", after: 1, change: []string{`metallb_k8s_client_config_loaded_bool` + config + ` 0x30`},
			want: []string{
				`MetalLBConfigNotLoaded: controller on c-0 has loaded no configuration since it started: no address is given or ` +
					`announced. kubectl -n m describe configmap config says why.`,
			},
		},
		{name: "a controller stands by", after: 30, change: []string{
			`metallb_k8s_client_config_loaded_bool{namespace="m", pod="c-1", container="controller"} 0x30`,
			`metallb_k8s_client_config_stale_bool{namespace="m", pod="c-1", container="controller"} 1x30`,
			`invar_controller_leading_bool{namespace="m", pod="c-1"} 0x30`,
		}},
		{name: "pool at 70 %", after: 30, change: []string{inUse + ` 7x30`}},
		{
			name: "pool at 80 %", after: 1, change: []string{inUse + ` 8x30`},
			want: []string{`MetalLBAddressPoolUsage75Percent: 80 % of the addresses of pool default are in use.`},
		},
		{
			name: "pool at 90 %", after: 1, change: []string{inUse + ` 9x30`},
			want: []string{
				`MetalLBAddressPoolUsage75Percent: 90 % of the addresses of pool default are in use.`,
				`MetalLBAddressPoolUsage85Percent: 90 % of the addresses of pool default are in use.`,
			},
		},
		{
			name: "pool full", after: 1, change: []string{inUse + ` 10x30`},
			want: []string{
				`MetalLBAddressPoolExhausted: All 10 addresses of pool default are in use. New Services wait.`,
				`MetalLBAddressPoolUsage75Percent: 100 % of the addresses of pool default are in use.`,
				`MetalLBAddressPoolUsage85Percent: 100 % of the addresses of pool default are in use.`,
				`MetalLBAddressPoolUsage95Percent: 100 % of the addresses of pool default are in use.`,
			},
		},
		{name: "IPv4 full, in a pool of IPv4 alone, counts once", after: 30, change: []string{
			`metallb_allocator_ipv4_addresses_in_use_total{namespace="m", pod="c-0", pool="default"} 10x30`,
		}},
		{
			name: "IPv4 full in a pool of both", after: 1, change: []string{
				`metallb_allocator_ipv4_addresses_in_use_total{namespace="m", pod="c-0", pool="default"} 10x30`,
				`metallb_allocator_ipv6_addresses_total{namespace="m", pod="c-0", pool="default"} 65536x30`,
			},
			want: []string{`InvarIPv4Exhausted: All 10 IPv4 addresses of pool default are in use. New Services that need one wait.`},
		},
		{
			name: "controller stands by for ever", after: 2,
			change: []string{`invar_controller_leading_bool{namespace="m", pod="c-0"} 0x30`},
			want: []string{
				`InvarNoLeader: No controller that Prometheus knows holds the Lease metallb-controller. Services keep their ` +
					`addresses and failover goes on, but no address is given.`,
			},
		},
		{
			name: "controller gone", after: 2, change: []string{`invar_controller_leading_bool{namespace="m", pod="c-0"} _x30`},
			want: []string{
				`InvarNoLeader: No controller that Prometheus knows holds the Lease metallb-controller. Services keep their ` +
					`addresses and failover goes on, but no address is given.`,
			},
		},
		{name: "controller changes", after: 8, change: []string{
			`invar_controller_leading_bool{namespace="m", pod="c-0"} 1x3 0x30`,
			`invar_controller_leading_bool{namespace="m", pod="c-1"} 0x4 1x30`,
		}},
		{
			name: "waiting", after: 10, change: []string{`invar_controller_services_waiting{namespace="m", pod="c-0"} 2x30`},
			want: []string{
				`InvarServicesWaiting: 2 Services have asked for an address for 10 minutes and can't have it. kubectl describe ` +
					`service says what each pool refused.`,
			},
		},
		{name: "waiting for a while", after: 9, change: []string{
			`invar_controller_services_waiting{namespace="m", pod="c-0"} 2x30`,
		}},
		{
			name: "stranded", after: 10, change: []string{`invar_controller_addresses_stranded{namespace="m", pod="c-0"} 1x30`},
			want: []string{
				`InvarAddressesStranded: 1 addresses that Services hold lie in no pool any more. They go on to be announced. Put ` +
					`them into a pool, or annotate the Services with invar.io/reallocate=true.`,
			},
		},
		{
			name: "conflict, seen by two", after: 1, change: []string{
				`invar_layer2_conflicts{namespace="m", pod="s-1"} 1x30`, `invar_layer2_conflicts{namespace="m", pod="s-2"} 1x30`,
			},
			want: []string{
				`InvarAddressConflict: 1 addresses of Services are used by a host that is not in the cluster. The condition ` +
					`invar.io/AddressConflict of the Service has its MAC. Remove that host, or take the address out of the pool.`,
			},
		},
		{
			name: "blocked", after: 1, change: []string{`invar_speaker_blocked_bool{namespace="m", pod="s-1"} 1x30`},
			want: []string{
				`InvarSpeakerBlocked: The speaker s-1 reaches no other speaker, though their nodes answer on the LAN. Open port ` +
					`7946, TCP and UDP, between the nodes.`,
			},
		},
		{
			name: "a speaker sees two of three", after: 2, change: []string{members + ` 2x30`},
			want: []string{
				`InvarMembersMissing: The speaker s-1 sees 2 live speakers, itself included, but more than these are running. Two ` +
					`nodes may answer for one address. Is port 7946 open, TCP and UDP, between all nodes?`,
			},
		},
		{name: "a rollout", after: 10, change: []string{members + ` 3 2 3 2 3x30`}},
		{name: "one more node than is scraped", after: 30, change: []string{members + ` 4x30`}},
		{
			name: "no interface", after: 5, change: []string{`invar_layer2_interfaces{namespace="m", pod="s-1"} 0x30`},
			want: []string{
				`InvarNoInterface: The speaker s-1 finds no interface that can carry announcements, so its node can take over no ` +
					`address.`,
			},
		},
		{
			name: "sockets fail", after: 15, change: []string{reopen + ` 0x3 1+1x30`},
			want: []string{
				`InvarSocketFailing: The speaker s-1 has opened packet sockets again 12 times within 15 minutes. While one is ` +
					`closed, its node does not answer there. Its log has the errors.`,
			},
		},
		{name: "a socket failed once", after: 15, change: []string{reopen + ` 0x3 1x30`}},
		{
			name: "addresses flap", after: 15, change: []string{failed + ` 0x3 3+3x30`},
			want: []string{
				`InvarTooManyMoves: Addresses have moved 36 times within 15 minutes, more than twice for each. Established ` +
					`connections break each time. The dashboard shows the causes by node.`,
			},
		},
		{name: "each address moved once", after: 15, change: []string{failed + ` 0x3 3x30`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := firing(t, parseSeries(t, changed(healthy, tt.change)...), tt.after)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("alerts (-want +got):\n%s", diff)
			}
			for _, text := range got {
				alert, _, _ := strings.Cut(text, ":")
				fired[alert] = true
			}
		})
	}
	for _, r := range rules(t) {
		if !fired[r.Alert] {
			t.Errorf("no case makes %s fire", r.Alert)
		}
	}
}

// changed is base with each series of changes in the place of the one with the same labels, if there is one.
func changed(base, changes []string) []string {
	byLabels := map[string]string{}
	for _, text := range slices.Concat(base, changes) {
		metric, _, _ := strings.Cut(text, "}")
		byLabels[metric] = text
	}
	return slices.Sorted(maps.Values(byLabels))
}

// firing evaluates all rules each minute, as Prometheus does, and returns which alerts fire after some minutes, with their
// descriptions, sorted.
func firing(t *testing.T, data series, after int) []string {
	t.Helper()
	var texts []string
	for _, r := range rules(t) {
		since := map[string]time.Time{} // by labels: when the expression began to hold
		for n := range after + 1 {
			result, err := data.query(r.Expr, at(n))
			if err != nil {
				t.Fatalf("%s: %v", r.Alert, err)
			}
			holding := map[string]time.Time{}
			for _, sample := range result {
				key := sample.Metric.String()
				holding[key] = at(n)
				if began, ok := since[key]; ok {
					holding[key] = began
				}
				if n == after && at(n).Sub(holding[key]) >= time.Duration(r.For) {
					texts = append(texts, r.Alert+": "+expand(t, r.Annotations["description"], sample))
				}
			}
			since = holding
		}
	}
	slices.Sort(texts)
	return texts
}

// expand is an annotation as Prometheus writes it. A label that the alert does not have is an error.
func expand(t *testing.T, text string, sample promql.Sample) string {
	t.Helper()
	values := map[string]string{}
	sample.Metric.Range(func(l labels.Label) { values[l.Name] = l.Value })
	data := template.AlertTemplateData(values, nil, "", sample)
	const names = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"
	none := func(context.Context, string, time.Time) (promql.Vector, error) {
		return nil, fmt.Errorf("no queries here")
	}
	out, err := template.NewTemplateExpander(context.Background(), names+text, "annotation", data, model.Now(), none,
		&url.URL{}, []string{"missingkey=error"}).Expand()
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return out
}
