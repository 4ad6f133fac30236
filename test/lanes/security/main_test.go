//go:build e2e

// Package security proves on a lab what Invar may do and what others may not: that each right of its roles is needed and no other
// is missing, which capabilities its processes have, who gets its metrics, what can be read of its gossip, and what NetworkPolicies
// leave open. The lab needs an audit log, and an API server that lists as those before Kubernetes 1.34 do:
//
//	hack/e2e.sh ./test/lanes/security --audit metallb-system --feature-gates WatchList=false
package security

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// lab is the cluster that all tests share. They run one after the other, and each leaves it as it found it.
var lab *clustertest.Lab

func TestMain(m *testing.M) {
	if os.Getenv(strangerEnv) != "" {
		os.Exit(stranger())
	}
	lab = clustertest.PreparedBy(prepare)
	os.Exit(m.Run())
}

func prepare(ctx context.Context, lab *clustertest.Lab) error {
	if _, err := os.Stat(lab.LogFile("audit")); err != nil {
		return fmt.Errorf("find the lab's audit log, which `lab up --audit metallb-system` would keep: %w", err)
	}
	if err := lab.Install(ctx); err != nil {
		return err
	}
	return lab.InstallEcho(ctx)
}
