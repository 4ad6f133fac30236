//go:build e2e

package security

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/invar-lb/invar/test/cluster"
	"github.com/invar-lb/invar/test/cluster/clustertest"
)

const (
	// exerciseTime is how long the daemons are kept busy with all rights granted: each step is taken some times.
	exerciseTime = 30 * time.Second
	// noticeBound is how long a daemon may take to miss a right.
	noticeBound = time.Minute
)

// TestRights takes every right of the installed roles away, one at a time, and wants the API server to refuse just that to each
// account that has it. Before, with all granted, nothing may be refused, and whatever is granted must be used.
func TestRights(t *testing.T) {
	lab.Create(t, provoked)
	lab.WantAddresses(t, provoked, "192.168.1.160")
	t.Cleanup(func() { settle(t) })
	log := openAudit(t)
	unused := exercise(t, log)
	for _, r := range installedRoles(t) {
		for _, right := range r.rights() {
			t.Run(right.String(), func(t *testing.T) {
				if accounts := unused[right.String()]; len(accounts) > 0 {
					t.Fatalf("it is granted to %v and never used", accounts)
				}
				wantNeeded(t, log, right)
			})
		}
	}
}

// exercise makes the daemons do all that they ever do, with all rights granted, checks that the API server has refused nothing
// since Invar was installed, and returns, for each right, the accounts that have not used it.
func exercise(t *testing.T, log *auditLog) (unused map[string][]string) {
	t.Helper()
	provoke(t, exerciseTime, func() bool { return false })
	settle(t)
	seen := log.next(t)
	t.Logf("%d requests", len(seen))
	for _, q := range seen {
		if q.refused() {
			t.Errorf("refused with all rights granted: %v (%s)", q, q.URI)
		}
	}
	unused = map[string][]string{}
	used := 0
	for _, role := range installedRoles(t) {
		for _, right := range role.rights() {
			for _, account := range role.accounts {
				if slices.ContainsFunc(seen, func(q request) bool { return right.allows(q, account) }) {
					used++
				} else {
					unused[right.String()] = append(unused[right.String()], account)
				}
			}
		}
	}
	t.Logf("rights in use: %d; not in use: %d", used, len(unused))
	return unused
}

// wantNeeded takes a right away until each account that has it was refused that, and nothing else.
func wantNeeded(t *testing.T, log *auditLog, right right) {
	t.Helper()
	right.remove(t)
	defer right.restore(t)
	log.skip(t)
	start, refused, missed := time.Now(), map[string]bool{}, map[string]bool{}
	provoke(t, noticeBound, func() bool {
		for _, q := range log.next(t) {
			if !q.refused() || q.At.Before(start) {
				continue
			}
			refused[q.String()] = true
			for _, account := range right.role.accounts {
				if right.allows(q, account) {
					missed[account] = true
				} else if q.account() == account {
					t.Errorf("refused as well: %v (%s)", q, q.URI)
				}
			}
		}
		return len(missed) == len(right.role.accounts)
	})
	t.Logf("refused after %v: %q", time.Since(start).Round(100*time.Millisecond), slices.Sorted(maps.Keys(refused)))
	for _, account := range right.role.accounts {
		if !missed[account] {
			t.Errorf("the %s does not need it: nothing was refused within %v", account, noticeBound)
		}
	}
}

// settle waits until Invar works as at first.
func settle(t *testing.T) {
	t.Helper()
	clustertest.Eventually(t, "the Secret is there", func(ctx context.Context) error {
		_, err := lab.Kube.CoreV1().Secrets(cluster.Namespace).Get(ctx, "memberlist", metav1.GetOptions{})
		return err
	})
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if err := lab.Rollout(context.WithoutCancel(t.Context()), cluster.Namespace, what); err != nil {
			t.Fatal(err)
		}
	}
	lab.SetConfig(t, clustertest.Mission)
	if err := ofType(context.WithoutCancel(t.Context()), corev1.ServiceTypeLoadBalancer); err == nil {
		lab.WantAddresses(t, provoked, "192.168.1.160")
		lab.WantHTTP(t, "192.168.1.160")
	}
}
