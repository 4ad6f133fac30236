#!/usr/bin/env bash
# Prints one line of JSON: how long a Responder takes to answer ARP, and what it costs to hear what is not for it. Progress and
# warnings go to stderr. Needs root.
set -euo pipefail
cd "$(dirname "$0")/.."

hack/require-root.sh
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

go test -c -o "$dir/bench" ./test/bench/arp
INVAR_TEST_ROOT=1 INVAR_BENCH_ARP=$dir/line "$dir/bench" -test.run '^TestBench$' -test.timeout 10m >&2
cat "$dir/line"
