//go:build e2e

// Package e2e tests Invar on a lab: a real cluster with a host on its LAN. `make test-e2e` brings the lab up.
package e2e

import (
	"os"
	"testing"

	"github.com/invar-lb/invar/test/cluster/clustertest"
)

// lab is the cluster that all tests share. They run one after the other, and each leaves it as it found it.
var lab *clustertest.Lab

// oneOnly is a configuration with a single address.
const oneOnly = "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - 192.168.1.160-192.168.1.160\n"

func TestMain(m *testing.M) {
	lab = clustertest.Prepared()
	os.Exit(m.Run())
}
