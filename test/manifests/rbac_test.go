package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// TestRights spells out every right that each service account has. A right that is added here needs its user in the
// code, and is what an administrator who reads the manifest must accept.
func TestRights(t *testing.T) {
	want := map[string][]string{
		"controller": {
			"cluster: create events",
			"cluster: get services",
			"cluster: list namespaces",
			"cluster: list services",
			"cluster: patch events",
			"cluster: patch services/status",
			"cluster: watch namespaces",
			"cluster: watch services",
			"metallb-system: create leases.coordination.k8s.io",
			"metallb-system: create secrets",
			"metallb-system: get leases.coordination.k8s.io metallb-controller",
			"metallb-system: get secrets memberlist",
			"metallb-system: list configmaps config",
			"metallb-system: list endpointslices.discovery.k8s.io",
			"metallb-system: list secrets memberlist",
			"metallb-system: update leases.coordination.k8s.io metallb-controller",
			"metallb-system: watch configmaps config",
			"metallb-system: watch endpointslices.discovery.k8s.io",
			"metallb-system: watch secrets memberlist",
		},
		"speaker": {
			"cluster: create events",
			"cluster: list endpointslices.discovery.k8s.io",
			"cluster: list nodes",
			"cluster: list services",
			"cluster: patch events",
			"cluster: watch endpointslices.discovery.k8s.io",
			"cluster: watch nodes",
			"cluster: watch services",
			"metallb-system: list configmaps config",
			"metallb-system: list secrets memberlist",
			"metallb-system: watch configmaps config",
			"metallb-system: watch secrets memberlist",
		},
	}
	diff(t, "rights", want, rights(t, load(t, "manifests/invar.yaml")))
}

// rights is, for each service account, what its bindings give it.
func rights(t *testing.T, objects []runtime.Object) map[string][]string {
	t.Helper()
	roles := map[string][]rbacv1.PolicyRule{} // by "Kind/name"
	result := map[string][]string{}
	for _, obj := range objects {
		switch o := obj.(type) {
		case *corev1.ServiceAccount:
			result[o.Name] = nil
		case *rbacv1.ClusterRole:
			roles["ClusterRole/"+o.Name] = o.Rules
		case *rbacv1.Role:
			roles["Role/"+o.Name] = o.Rules
		}
	}
	bind := func(scope string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) {
		rules, ok := roles[ref.Kind+"/"+ref.Name]
		if !ok {
			t.Errorf("binding to %s %s, which does not exist", ref.Kind, ref.Name)
		}
		for _, s := range subjects {
			if _, ok := result[s.Name]; !ok || s.Kind != "ServiceAccount" || s.Namespace != "metallb-system" {
				t.Errorf("%s %s is bound to %+v, which does not exist", ref.Kind, ref.Name, s)
			}
			result[s.Name] = append(result[s.Name], spell(scope, rules)...)
		}
	}
	for _, obj := range objects {
		switch o := obj.(type) {
		case *rbacv1.ClusterRoleBinding:
			bind("cluster", o.RoleRef, o.Subjects)
		case *rbacv1.RoleBinding:
			bind(o.Namespace, o.RoleRef, o.Subjects)
		}
	}
	for _, r := range result {
		slices.Sort(r)
	}
	return result
}

// spell writes rules out as "scope: verb resource[.group] [name]", one for each combination.
func spell(scope string, rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						resource := strings.TrimSuffix(resource+"."+group, ".")
						out = append(out, strings.TrimSpace(fmt.Sprintf("%s: %s %s %s", scope, verb, resource, name)))
					}
				}
			}
		}
	}
	return out
}
