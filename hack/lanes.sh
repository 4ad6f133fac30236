#!/usr/bin/env bash
# Usage: lanes.sh [LANE...]
# Runs end-to-end tests in each of the environments that this machine can make, or in those that are named, one lab after the
# other, and says at the end for each lane what came of it. Fails if a lane failed, or one that was named can't run here.
# Each lane's output is kept in bin/lanes/LANE.log, and its lab's logs, if it failed, in bin/lanes/LANE-logs.
# Honours what e2e.sh does, and needs what it needs. LAB_NAME=NAME calls the labs otherwise than lanes.
set -euo pipefail
cd "$(dirname "$0")/.."

# table prints a line for each lane: its name, the packages of its tests, arguments to `lab up`, and a command to run before.
table() {
  sed 's/ *| */|/g' <<'END'
nftables | ./test/e2e/...       |
iptables | ./test/e2e/...       | --proxy-mode iptables
ipvs     | ./test/e2e/...       | --proxy-mode ipvs
router   | ./test/lanes/router  |
flannel  | ./test/e2e/...       | --pod-network flannel
ingress  | ./test/lanes/ingress |                      | make -s ingress-image
upgrade  | ./test/lanes/upgrade |                      | hack/lane-upgrade.sh
security | ./test/lanes/security| --audit metallb-system --feature-gates WatchList=false
END
}

# lack LANE prints why this machine can't run the lane, if it can't.
lack() {
  case $1 in
    ipvs)
      modprobe --quiet ip_vs || true # it may be built in
      [[ -e /proc/net/ip_vs ]] || echo 'the kernel has no IP_VS' ;;
  esac
}

export LAB_NAME=${LAB_NAME:-lanes}
out=bin/lanes
results=()
code=0

# report LANE RESULT SECONDS
report() { results+=("$(printf '%-15s %-9s %5ds' "$@")"); }

# run LANE PACKAGES ARGUMENTS BEFORE
run() {
  local start=$SECONDS result=passed
  echo "=== lane $1"
  # Arguments and command are words of the table above.
  # shellcheck disable=SC2086
  if ! { ${4:-true} && E2E_LOGS=$out/$1-logs hack/e2e.sh "$2" $3; } 2>&1 | tee "$out/$1.log"; then
    result=failed
    code=1
  fi
  report "$1" "$result" $((SECONDS - start))
}

for lane; do
  table | grep -q "^$lane|" || { echo "lanes.sh: no lane $lane, but: $(table | cut -d'|' -f1 | xargs)" >&2; exit 1; }
done
mkdir -p $out
left=()
while IFS='|' read -r -u 3 lane packages arguments before; do
  (($# == 0)) || [[ " $* " == *" $lane "* ]] || continue
  reason=$(lack "$lane")
  if [[ -z $reason ]]; then
    run "$lane" "$packages" "$arguments" "$before"
    continue
  fi
  report "$lane" 'left out' 0
  left+=("left out: $lane: $reason")
  (($# == 0)) || code=1
done 3< <(table)
printf '%s\n' "${results[@]}" ${left[@]+"${left[@]}"}
exit $code
