#!/usr/bin/env bash
# Usage: manifests.sh [--check]
# Renders manifests/invar.yaml from config/base. With --check writes nothing and fails if it differs.
set -euo pipefail
cd "$(dirname "$0")/.."

render() {
  echo '# Made from config/base by `make manifests`; edit that. Configuration: see config/samples.'
  go tool -modfile=hack/tools/go.mod kustomize build config/base
}

rendered=$(mktemp)
trap 'rm -f "$rendered"' EXIT
render >"$rendered"
if [[ ${1:-} == --check ]]; then
  diff -u --label manifests/invar.yaml manifests/invar.yaml --label 'made from config/base' "$rendered" || {
    echo 'manifests/invar.yaml differs from config/base: run `make manifests`' >&2
    exit 1
  }
  exit
fi
mkdir -p manifests
install -m 0644 "$rendered" manifests/invar.yaml
echo "manifests/invar.yaml: $(grep -c '^kind:' manifests/invar.yaml) objects"
