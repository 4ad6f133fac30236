#!/usr/bin/env bash
# Runs the tests on real links in a virtual machine with Debian's kernel, which has what this machine's may lack: VLANs, bonds,
# IPVS. RUN=TestName runs only these.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=1200
packages=(test/netns pkg/netif pkg/responder pkg/layer2 test/ipvs)

mkdir -p bin/kernel/tests
CGO_ENABLED=0 go test -c -o bin/kernel/tests/ "${packages[@]/#/./}"

# shellcheck disable=SC2016
hack/guest.sh "$seconds" env INVAR_TEST_ROOT=1 INVAR_TEST_KERNEL=1 bash -c '
  echo "kernel $(uname -r)"
  failed=0
  for package; do
    begin=$SECONDS
    if (cd "$package" && "$0/$(basename "$package").test" -test.shuffle=on -test.timeout=10m '"-test.run='${RUN:-.}'"'); then
      echo "ok   $package $((SECONDS - begin))s"
    else
      echo "FAIL $package $((SECONDS - begin))s"
      failed=1
    fi
  done
  exit $failed' "$PWD/bin/kernel/tests" "${packages[@]}"
