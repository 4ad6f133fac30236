#!/usr/bin/env bash
# Runs all tests: units, packets on real links (on this kernel and on Debian's), the lab's own, and the end-to-end ones on a lab.
set -euo pipefail
cd "$(dirname "$0")/.."

section() { echo "=== test: $* ($((SECONDS / 60)) min since start)"; }

hack/require-root.sh
hack/deps.sh cc lab browser kernel

section 'units, and packets on real links'
INVAR_TEST_ROOT=1 INVAR_TEST_BROWSER=1 hack/test-unit.sh
section 'an image, built twice (once without a cache: minutes)'
PLATFORMS=amd64 make reproduce
section 'image and lab (Kubernetes is compiled once: minutes)'
make image bin/invar lab
section "the lab's units"
INVAR_TEST_ROOT=1 go -C test/lab test ./...
section "end to end, on a lab of three nodes; beside it packets on Debian's kernel, in a virtual machine"
# The lab's tests wait for most of their time.
code=0
if [[ $(uname -m) == x86_64 ]]; then
  nice -n 19 hack/test-kernel.sh
else
  echo 'left out: the kernel is for amd64'
fi >bin/test-kernel.log 2>&1 &
hack/e2e.sh || code=1
wait $! || code=1
cat bin/test-kernel.log
((code == 0))
section 'faults of many speakers, simulated'
make -s sim SCHEDULES=1000
section 'faults of all kinds, on a lab'
make -s chaos MINUTES=2 SEED=1
section 'many nodes and Services'
make -s bench-scale SERVICES=500 NODES=20 SPEAKERS=8 WINDOW=8s
section 'all passed'
