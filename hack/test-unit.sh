#!/usr/bin/env bash
# Runs the unit tests of the project, of its tools, and of its dashboard and alerts. With INVAR_TEST_ROOT=1 tests that need
# network namespaces fail instead of being skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

race=()
if command -v "$(go env CC)" >/dev/null; then
  race=(-race)
else
  echo "no C compiler: testing without the race detector" >&2
fi
go test "${race[@]}" -shuffle=on ./...
go -C hack/tools test -shuffle=on ./...
go -C test/monitoring test -shuffle=on ./...
