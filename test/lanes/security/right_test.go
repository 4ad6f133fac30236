//go:build e2e

package security

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// role is a Role or, without a namespace, a ClusterRole that is bound to service accounts of Invar.
type role struct {
	namespace, name string
	rules           []rbacv1.PolicyRule
	accounts        []string
}

// right is one verb for one resource that a role gives, for objects of one name if that is not empty.
type right struct {
	role                        *role
	group, resource, verb, name string
}

func (r right) String() string {
	kind := "ClusterRole " + r.role.name
	if r.role.namespace != "" {
		kind = "Role " + r.role.name
	}
	resource := strings.TrimSuffix(r.resource+"."+r.group, ".")
	return strings.TrimSpace(fmt.Sprintf("%s: %s %s %s", kind, r.verb, resource, r.name))
}

// allows reports whether it takes this right to be granted a request of an account.
func (r right) allows(q request, account string) bool {
	resource := q.Object.Resource
	if q.Object.Subresource != "" {
		resource += "/" + q.Object.Subresource
	}
	return q.account() == account && q.Verb == r.verb && q.Object.Group == r.group && resource == r.resource &&
		(r.name == "" || q.Object.Name == r.name) && (r.role.namespace == "" || q.Object.Namespace == r.role.namespace)
}

// installedRoles returns all roles of the cluster that are bound to service accounts of Invar, whoever made them.
func installedRoles(t *testing.T) (roles []*role) {
	t.Helper()
	ctx, rbac := t.Context(), lab.Kube.RbacV1()
	everywhere, err := rbac.ClusterRoleBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range everywhere.Items {
		if accounts := accountsOf(b.Subjects); len(accounts) > 0 {
			roles = append(roles, readRole(t, "", b.RoleRef, accounts))
		}
	}
	bindings, err := rbac.RoleBindings(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bindings.Items {
		if accounts := accountsOf(b.Subjects); len(accounts) > 0 {
			roles = append(roles, readRole(t, b.Namespace, b.RoleRef, accounts))
		}
	}
	if len(roles) == 0 {
		t.Fatal("no role is bound to Invar's service accounts")
	}
	return roles
}

// accountsOf returns the service accounts of Invar among subjects.
func accountsOf(subjects []rbacv1.Subject) (accounts []string) {
	for _, s := range subjects {
		if s.Kind == rbacv1.ServiceAccountKind && s.Namespace == cluster.Namespace {
			accounts = append(accounts, s.Name)
		}
	}
	return accounts
}

func readRole(t *testing.T, namespace string, ref rbacv1.RoleRef, accounts []string) *role {
	t.Helper()
	r := &role{name: ref.Name, accounts: accounts}
	if ref.Kind == "ClusterRole" {
		if namespace != "" {
			t.Fatalf("ClusterRole %s is bound in a namespace, which this test does not expect", ref.Name)
		}
		got, err := lab.Kube.RbacV1().ClusterRoles().Get(t.Context(), ref.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		r.rules = got.Rules
		return r
	}
	got, err := lab.Kube.RbacV1().Roles(namespace).Get(t.Context(), ref.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.namespace, r.rules = namespace, got.Rules
	return r
}

// rights spells a role out.
func (r *role) rights() (rights []right) {
	for _, rule := range r.rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						rights = append(rights, right{r, group, resource, verb, name})
					}
				}
			}
		}
	}
	return rights
}

// set replaces the rules of the role on the cluster.
func (r *role) set(ctx context.Context, rules []rbacv1.PolicyRule) error {
	if r.namespace == "" {
		roles := lab.Kube.RbacV1().ClusterRoles()
		now, err := roles.Get(ctx, r.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		now.Rules = rules
		_, err = roles.Update(ctx, now, metav1.UpdateOptions{})
		return err
	}
	roles := lab.Kube.RbacV1().Roles(r.namespace)
	now, err := roles.Get(ctx, r.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	now.Rules = rules
	_, err = roles.Update(ctx, now, metav1.UpdateOptions{})
	return err
}

// remove takes this right out of its role and waits until the API server goes by that.
func (r right) remove(t *testing.T) {
	t.Helper()
	rest := slices.DeleteFunc(r.role.rights(), func(o right) bool { return o == r })
	rules := make([]rbacv1.PolicyRule, len(rest))
	for i, o := range rest {
		rules[i] = rbacv1.PolicyRule{APIGroups: []string{o.group}, Resources: []string{o.resource}, Verbs: []string{o.verb}}
		if o.name != "" {
			rules[i].ResourceNames = []string{o.name}
		}
	}
	if err := r.role.set(t.Context(), rules); err != nil {
		t.Fatal(err)
	}
	r.wantAllowed(t, false)
}

// restore puts the role back as it was.
func (r right) restore(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, "put the role back", func(ctx context.Context) error { return r.role.set(ctx, r.role.rules) })
	r.wantAllowed(t, true)
}

// wantAllowed waits until the API server says of all accounts of the role that they have the right, or have it not.
func (r right) wantAllowed(t *testing.T, want bool) {
	t.Helper()
	resource, subresource, _ := strings.Cut(r.resource, "/")
	for _, account := range r.role.accounts {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User:   "system:serviceaccount:" + cluster.Namespace + ":" + account,
			Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + cluster.Namespace, "system:authenticated"},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: r.role.namespace, Verb: r.verb, Group: r.group, Resource: resource, Subresource: subresource, Name: r.name,
			},
		}}
		clustertest.Eventually(t, fmt.Sprintf("%s may %s: %t", account, r, want), func(ctx context.Context) error {
			got, err := lab.Kube.AuthorizationV1().SubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err == nil && got.Status.Allowed != want {
				err = fmt.Errorf("allowed: %t %s", got.Status.Allowed, got.Status.Reason)
			}
			return err
		})
	}
}
