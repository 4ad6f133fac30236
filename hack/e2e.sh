#!/usr/bin/env bash
# Usage: e2e.sh [PACKAGES [LAB-UP-ARGUMENTS...]]
# Runs end-to-end tests (./test/e2e/...) on a fresh lab of their own, see with-lab.sh; the exit code is the tests'. RUN=REGEXP runs
# only these, LAB_NAME=NAME calls the lab otherwise than e2e. Needs bin/lab, or LAB_PROGRAM, bin/invar and bin/invar-image.tar.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=${1:-./test/e2e/...}
shift $(($# ? 1 : 0))
export LAB_NAME=${LAB_NAME:-e2e} LAB_UP=$*
exec hack/with-lab.sh go test -tags e2e -count=1 -timeout 40m -v ${RUN:+-run "$RUN"} "$packages"
