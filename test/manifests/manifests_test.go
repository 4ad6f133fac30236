package manifests

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestObjects fixes what is installed and under which names. Most names are MetalLB's, so that its objects are
// replaced, not doubled. There is no ConfigMap: applying a new version must not reset the configuration.
func TestObjects(t *testing.T) {
	var got []string
	for _, obj := range load(t, "manifests/invar.yaml") {
		m, err := meta.Accessor(obj)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s %s/%s", obj.GetObjectKind().GroupVersionKind().Kind, m.GetNamespace(), m.GetName())
		got = append(got, name)
		if m.GetLabels()["app"] != "metallb" {
			t.Errorf("%s lacks the label app: metallb", name)
		}
	}
	if len(got) == 0 || got[0] != "Namespace /metallb-system" {
		t.Errorf("the namespace is not the first object of %q, so kubectl apply would fail", got)
	}
	slices.Sort(got)
	want := []string{
		"ClusterRole /metallb-system:controller",
		"ClusterRole /metallb-system:speaker",
		"ClusterRoleBinding /metallb-system:controller",
		"ClusterRoleBinding /metallb-system:speaker",
		"DaemonSet metallb-system/speaker",
		"Deployment metallb-system/controller",
		"Namespace /metallb-system",
		"Role metallb-system/config-watcher",
		"Role metallb-system/controller",
		"Role metallb-system/speaker",
		"RoleBinding metallb-system/config-watcher",
		"RoleBinding metallb-system/controller",
		"RoleBinding metallb-system/speaker",
		"Service metallb-system/speaker",
		"ServiceAccount metallb-system/controller",
		"ServiceAccount metallb-system/speaker",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestNamespaceAllowsTheSpeaker(t *testing.T) {
	labels := only[*corev1.Namespace](t).Labels
	for _, mode := range []string{"enforce", "audit", "warn"} {
		if got := labels["pod-security.kubernetes.io/"+mode]; got != "privileged" {
			t.Errorf("pod security %s is %q: the speaker needs the host's network and NET_RAW", mode, got)
		}
	}
}

func TestController(t *testing.T) {
	d := only[*appsv1.Deployment](t)
	pod := d.Spec.Template.Spec
	checkWorkload(t, workload{name: "controller", selector: d.Spec.Selector, template: d.Spec.Template})
	diff(t, "replicas", 1, *d.Spec.Replicas)
	diff(t, "revision history", 3, *d.Spec.RevisionHistoryLimit)
	diff(t, "strategy", appsv1.RollingUpdateDeploymentStrategyType, d.Spec.Strategy.Type)
	diff(t, "host network", false, pod.HostNetwork)
	diff(t, "priority", "system-cluster-critical", pod.PriorityClassName)
	diff(t, "pod security", &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(65534)), RunAsGroup: new(int64(65534)), FSGroup: new(int64(65534)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}, pod.SecurityContext)
	diff(t, "container security", &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}, pod.Containers[0].SecurityContext)
	diff(t, "environment", map[string]string{
		"METALLB_NAMESPACE":      "field metadata.namespace",
		"METALLB_POD_NAME":       "field metadata.name",
		"METALLB_ML_BIND_ADDR":   "field status.podIP",
		"METALLB_ML_SECRET_NAME": "memberlist",
	}, environment(pod.Containers[0]))
	diff(t, "ports", map[string]string{
		"monitoring": "7472/TCP", "memberlist-tcp": "7946/TCP", "memberlist-udp": "7946/UDP",
	}, ports(pod.Containers[0]))
}

func TestSpeaker(t *testing.T) {
	d := only[*appsv1.DaemonSet](t)
	pod := d.Spec.Template.Spec
	checkWorkload(t, workload{
		name: "speaker", selector: d.Spec.Selector, template: d.Spec.Template, args: []string{"--state-dir=/var/lib/invar"},
	})
	diff(t, "update strategy", appsv1.DaemonSetUpdateStrategy{
		Type:          appsv1.RollingUpdateDaemonSetStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: new(intstr.FromInt32(1))},
	}, d.Spec.UpdateStrategy)
	diff(t, "host network", true, pod.HostNetwork)
	diff(t, "priority", "system-node-critical", pod.PriorityClassName)
	diff(t, "pod security", &corev1.PodSecurityContext{
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}, pod.SecurityContext)
	diff(t, "container security", &corev1.SecurityContext{
		RunAsUser: new(int64(0)), RunAsGroup: new(int64(0)),
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_RAW"}},
	}, pod.Containers[0].SecurityContext)
	diff(t, "environment", map[string]string{
		"GOGC":                   "50",
		"GOMAXPROCS":             "2",
		"METALLB_NODE_NAME":      "field spec.nodeName",
		"METALLB_HOST":           "field status.hostIP",
		"METALLB_NAMESPACE":      "field metadata.namespace",
		"METALLB_ML_BIND_ADDR":   "field status.podIP",
		"METALLB_ML_LABELS":      "app=metallb,component=speaker",
		"METALLB_ML_SECRET_NAME": "memberlist",
	}, environment(pod.Containers[0]))
	diff(t, "ports", map[string]string{
		"monitoring": "7472/TCP", "memberlist-tcp": "7946/TCP", "memberlist-udp": "7946/UDP",
	}, ports(pod.Containers[0]))
	size := resource.MustParse("64Mi")
	diff(t, "volumes", []corev1.Volume{{Name: "state", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &size},
	}}}, pod.Volumes)
	diff(t, "mounts", []corev1.VolumeMount{{Name: "state", MountPath: "/var/lib/invar"}}, pod.Containers[0].VolumeMounts)
}

// workload is what Deployment and DaemonSet have in common.
type workload struct {
	name     string
	selector *metav1.LabelSelector
	template corev1.PodTemplateSpec
	args     []string // beside those of both
}

// checkWorkload checks what must hold for both workloads.
func checkWorkload(t *testing.T, w workload) {
	t.Helper()
	labels := map[string]string{"app": "metallb", "component": w.name}
	diff(t, "selector (immutable: MetalLB's)", &metav1.LabelSelector{MatchLabels: labels}, w.selector)
	diff(t, "pod labels", labels, w.template.Labels)
	diff(t, "annotations", map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "7472"}, w.template.Annotations)

	pod := w.template.Spec
	diff(t, "service account", w.name, pod.ServiceAccountName)
	diff(t, "grace period", 10, *pod.TerminationGracePeriodSeconds)
	diff(t, "node selector", map[string]string{"kubernetes.io/os": "linux"}, pod.NodeSelector)
	diff(t, "tolerations", []corev1.Toleration{
		{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: "node-role.kubernetes.io/master", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	}, pod.Tolerations)
	diff(t, "containers", 1, len(pod.Containers))

	c := pod.Containers[0]
	diff(t, "container", w.name, c.Name)
	diff(t, "image", "ghcr.io/invar-lb/invar:"+version(t), c.Image)
	diff(t, "pull policy", corev1.PullIfNotPresent, c.ImagePullPolicy)
	diff(t, "command", []string{"/" + w.name}, c.Command)
	diff(t, "arguments", append([]string{"--port=7472", "--config=config", "--log-level=info"}, w.args...), c.Args)
	diff(t, "CPU limit", false, limitsCPU(c))
	for path, probe := range map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe == nil {
			t.Errorf("no probe of %s", path)
			continue
		}
		diff(t, "probe", &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("monitoring")}, probe.HTTPGet)
	}
}

// TestServiceFindsSpeakers checks that the headless Service leads to all speakers, also to those that are not ready:
// one becomes ready only after it has joined the others.
func TestServiceFindsSpeakers(t *testing.T) {
	svc := only[*corev1.Service](t)
	pod := only[*appsv1.DaemonSet](t).Spec.Template
	diff(t, "cluster IP", corev1.ClusterIPNone, svc.Spec.ClusterIP)
	diff(t, "publishes not ready addresses", true, svc.Spec.PublishNotReadyAddresses)
	diff(t, "selector", pod.Labels, svc.Spec.Selector)
	named := ports(pod.Spec.Containers[0])
	for _, p := range svc.Spec.Ports {
		diff(t, "port "+p.Name, fmt.Sprintf("%d/%s", p.Port, p.Protocol), named[p.TargetPort.String()])
	}
	diff(t, "number of ports", 2, len(svc.Spec.Ports))
}

// TestImageLabels checks what hack/image.sh takes from the Dockerfile.
func TestImageLabels(t *testing.T) {
	dockerfile := string(read(t, "Dockerfile"))
	if want := "ARG VERSION=" + version(t) + "\n"; strings.Count(dockerfile, want) != 2 {
		t.Errorf("Dockerfile does not have %q in both stages", want)
	}
	labels := regexp.MustCompile(`(?m)^LABEL ([^=\n]*)="(.*)"$`).FindAllStringSubmatch(dockerfile, -1)
	var names []string
	for _, l := range labels {
		names = append(names, strings.TrimPrefix(l[1], "org.opencontainers.image."))
	}
	diff(t, "labels", []string{"title", "description", "source", "licenses", "version"}, names)
}

// version is the Makefile's VERSION.
func version(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^VERSION \?= (v\S+)$`).FindSubmatch(read(t, "Makefile"))
	if m == nil {
		t.Fatal("no VERSION in the Makefile")
	}
	return string(m[1])
}

// environment is the container's variables, with a reference to a field as "field PATH".
func environment(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			env[e.Name] = "field " + e.ValueFrom.FieldRef.FieldPath
		}
	}
	return env
}

// ports is the container's ports by name, as "number/protocol".
func ports(c corev1.Container) map[string]string {
	named := map[string]string{}
	for _, p := range c.Ports {
		named[p.Name] = fmt.Sprintf("%d/%s", p.ContainerPort, p.Protocol)
	}
	return named
}

// limitsCPU reports whether c has a CPU limit, which would delay answers and heartbeats.
func limitsCPU(c corev1.Container) bool {
	_, limited := c.Resources.Limits[corev1.ResourceCPU]
	return limited
}

// diff reports a difference in what.
func diff[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
