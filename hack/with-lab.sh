#!/usr/bin/env bash
# Usage: LAB_NAME=NAME with-lab.sh COMMAND...
# Runs a command beside a fresh lab of that name, with this tree's image in it, and takes the lab down again, whatever happens;
# the exit code is the command's. LAB_PROGRAM is the lab's program (bin/lab), LAB_UP has more arguments for `lab up`, E2E_KEEP=1
# leaves the lab up, E2E_LOGS=DIR keeps its logs there after a failure. Needs bin/invar-image.tar.
set -euo pipefail
cd "$(dirname "$0")/.."

lab=${LAB_PROGRAM:-bin/lab}
logs=${E2E_LOGS:-bin/$LAB_NAME-logs}

# save_logs keeps what the lab's processes and pods wrote, which goes with the lab.
save_logs() {
  local dir
  dir=$("$lab" status --name "$LAB_NAME" --json | sed -n 's/.*"dir": *"\([^"]*\)".*/\1/p' | head -n 1) || return 0
  [[ -n $dir && -d $dir/logs ]] || return 0
  rm -rf "$logs"
  cp -r "$dir/logs" "$logs"
  mkdir "$logs/pods"
  local node
  for node in /var/lib/invar-lab/"$LAB_NAME"/node*; do
    cp -r "$node/var/log/pods/." "$logs/pods" || true # it may have had none
  done
  echo "the lab's logs are in $logs" >&2
}

finish() {
  local code=$?
  trap - EXIT
  ((code == 0)) || save_logs
  if [[ ${E2E_KEEP:-} == 1 ]]; then
    echo "the lab $LAB_NAME is left up; take it down with: $lab down --name $LAB_NAME" >&2
  elif ! "$lab" down --name "$LAB_NAME" && ((code == 0)); then
    code=1
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What an earlier run that was killed left behind would be taken for this run's.
"$lab" down --name "$LAB_NAME"
# shellcheck disable=SC2086 # LAB_UP is words
"$lab" up --name "$LAB_NAME" --image bin/invar-image.tar ${LAB_UP:-}
"$@"
