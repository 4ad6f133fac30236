#!/usr/bin/env bash
# Usage: lab.sh [MINOR]
# Builds bin/lab; with MINOR, such as 1.35, bin/lab-MINOR, the same lab on that version of Kubernetes, which
# test/lab/kubernetes-MINOR.mod pins.
set -euo pipefail
cd "$(dirname "$0")/.."

mod=go.mod out=lab
if [[ -n ${1:-} ]]; then
  mod=kubernetes-$1.mod out=lab-$1
  [[ -e test/lab/$mod ]] || { echo "lab.sh: no lab for Kubernetes $1: there is no test/lab/$mod" >&2; exit 1; }
fi
echo "building bin/$out with Kubernetes in it: minutes for the first time, seconds later" >&2
go build -C test/lab -modfile="$mod" -ldflags "$(hack/kubernetes-ldflags.sh "test/lab/$mod")" -o "../../bin/$out" .
