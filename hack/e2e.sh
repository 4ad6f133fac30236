#!/usr/bin/env bash
# Runs the end-to-end tests on a fresh lab of their own, see with-lab.sh; the exit code is the tests'. RUN=REGEXP runs only
# these. Needs bin/lab, or LAB_PROGRAM, bin/invar and bin/invar-image.tar.
set -euo pipefail
cd "$(dirname "$0")/.."

LAB_NAME=${E2E_LAB:-e2e} exec hack/with-lab.sh go test -tags e2e -count=1 -timeout 40m -v ${RUN:+-run "$RUN"} ./test/e2e/...
