#!/usr/bin/env bash
# Runs the benchmarks of all packages COUNT times and prints benchstat's summary. BENCH=REGEXP runs only these.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p bin
go test -run '^$' -bench "${BENCH:-.}" -benchmem -count "${COUNT:-6}" -p 1 ./pkg/... | tee bin/bench.txt
go tool -modfile=hack/tools/go.mod benchstat bin/bench.txt
