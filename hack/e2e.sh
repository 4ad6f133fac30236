#!/usr/bin/env bash
# Usage: e2e.sh [PACKAGES [LAB-UP-ARGUMENTS...]]
# Runs end-to-end tests (./test/e2e/...) on a fresh lab of their own and takes it down again, whatever happens; the exit code is
# the tests'. RUN=REGEXP runs only these, E2E_KEEP=1 leaves the lab up, LAB_NAME=NAME calls it otherwise than e2e, E2E_LOGS=DIR
# keeps its logs there after a failure. Needs bin/lab, bin/invar and bin/invar-image.tar.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=${1:-./test/e2e/...}
shift $(($# ? 1 : 0))
export LAB_NAME=${LAB_NAME:-e2e}
logs=${E2E_LOGS:-bin/$LAB_NAME-logs}

# save_logs keeps what the lab's processes wrote, which goes with the lab.
save_logs() {
  local dir
  dir=$(bin/lab status --name "$LAB_NAME" --json | sed -n 's/.*"dir": *"\([^"]*\)".*/\1/p' | head -n 1) || return 0
  [[ -n $dir && -d $dir/logs ]] || return 0
  rm -rf "$logs"
  cp -r "$dir/logs" "$logs"
  echo "the lab's logs are in $logs" >&2
}

finish() {
  local code=$?
  trap - EXIT
  ((code == 0)) || save_logs
  if [[ ${E2E_KEEP:-} == 1 ]]; then
    echo "the lab $LAB_NAME is left up; take it down with: bin/lab down --name $LAB_NAME" >&2
  elif ! bin/lab down --name "$LAB_NAME" && ((code == 0)); then
    code=1
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What an earlier run that was killed left behind would be taken for this run's.
bin/lab down --name "$LAB_NAME"
bin/lab up --name "$LAB_NAME" --image bin/invar-image.tar "$@"
go test -tags e2e -count=1 -timeout 40m -v ${RUN:+-run "$RUN"} "$packages"
