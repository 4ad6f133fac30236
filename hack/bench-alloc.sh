#!/usr/bin/env bash
# Prints one line of JSON for each fill level: how long the Allocator takes for an address. A level above the target is worth a
# warning on stderr and no more, since it may be the machine's; whatever else goes wrong is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# A level above the target fails the test as well, with a message of its own.
if ! INVAR_BENCH_ALLOC=$dir/lines go test -run '^TestBenchAlloc$' -count=1 ./pkg/ipam >"$dir/log" 2>&1; then
  failures=$(grep -E '_test\.go:[0-9]+: |^panic: ' "$dir/log") || true
  if [[ -z $failures ]] || grep -qvE ' [0-9]+ ns, more than [0-9]+$' <<<"$failures"; then
    cat "$dir/log" >&2
    exit 1
  fi
  sed -E 's/^[^:]*:[0-9]+: /warning: above the target: /' <<<"$failures" >&2
fi
cat "$dir/lines"
