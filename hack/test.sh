#!/usr/bin/env bash
# Runs all tests: units, packets on real links (on this kernel and on Debian's), the lab's own, and the end-to-end ones on a lab.
set -euo pipefail
cd "$(dirname "$0")/.."

section() { echo "=== test: $* ($((SECONDS / 60)) min since start)"; }

# beside LOG "COMMAND" OTHER...
# Runs COMMAND, which waits for most of its time as what runs on a lab does, and OTHER with what it leaves of the processors. What
# OTHER printed comes afterwards.
beside() {
  local log=bin/test-$1.log command=$2 code=0
  shift 2
  (renice -n 19 $BASHPID >/dev/null && "$@") >"$log" 2>&1 &
  bash -c "$command" || code=1
  wait $! || code=1
  cat "$log"
  return $code
}

packets_in_machine() {
  if [[ $(uname -m) == x86_64 ]]; then
    hack/test-kernel.sh
  else
    echo 'left out: the kernel is for amd64'
  fi
}

hack/require-root.sh
hack/deps.sh cc lab browser kernel

section 'units, and packets on real links'
INVAR_TEST_ROOT=1 INVAR_TEST_BROWSER=1 hack/test-unit.sh
section 'image and lab (Kubernetes is compiled once: minutes)'
make image bin/invar lab
section "the lab's units"
INVAR_TEST_ROOT=1 go -C test/lab test ./...
section "end to end, on a lab of three nodes; beside it packets on Debian's kernel, in a virtual machine"
beside kernel 'hack/e2e.sh' packets_in_machine
section 'faults of many speakers, simulated'
make -s sim SCHEDULES=1000
section 'faults of all kinds, on a lab; beside it an image, built twice, once without a cache'
beside reproduce 'make -s chaos MINUTES=2 SEED=1' make reproduce PLATFORMS=amd64
section 'many nodes and Services'
make -s bench-scale SERVICES=500 NODES=20 SPEAKERS=8 WINDOW=8s
section 'all passed'
