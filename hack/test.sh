#!/usr/bin/env bash
# Runs all tests: units, packets on real links (on this kernel and on Debian's), the lab's own, and the end-to-end ones on a lab.
set -euo pipefail
cd "$(dirname "$0")/.."

section() { echo "=== test: $* ($((SECONDS / 60)) min since start)"; }

hack/require-root.sh
hack/deps.sh cc lab browser kernel

section 'units, and packets on real links'
INVAR_TEST_ROOT=1 INVAR_TEST_BROWSER=1 hack/test-unit.sh
if [[ $(uname -m) == x86_64 ]]; then
  section "packets on Debian's kernel, in a virtual machine"
  hack/test-kernel.sh
fi
section 'an image, built twice (once without a cache: minutes)'
PLATFORMS=amd64 make reproduce
section 'image and lab (Kubernetes is compiled once: minutes)'
make image bin/invar lab
section "the lab's units"
INVAR_TEST_ROOT=1 go -C test/lab test ./...
section 'end to end, on a lab of three nodes'
hack/e2e.sh
section 'faults of many speakers, simulated'
make -s sim SCHEDULES=1000
section 'faults of all kinds, on a lab'
make -s chaos MINUTES=2 SEED=1
section 'many nodes and Services'
make -s bench-scale SERVICES=500 NODES=20 SPEAKERS=8 WINDOW=8s
section 'all passed'
