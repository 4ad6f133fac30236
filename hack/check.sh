#!/usr/bin/env bash
# Runs every check, also after one has failed, and fails if one did.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/hack/tools/go.mod
modules=(. hack/tools test/flannel test/lab test/monitoring)
# What is built of other projects for a lab: compiling these to vet little more than a main function takes minutes.
pins=(test/kubernetes/coredns test/kubernetes/upstream test/lanes/ingress/image test/lanes/security/enforcer)
failed=()

# check NAME COMMAND...
check() {
  local name=$1 start=$SECONDS
  shift
  echo "--- check: $name"
  if "$@"; then
    echo "    ok ($((SECONDS - start))s)"
  else
    echo "    FAILED ($((SECONDS - start))s)"
    failed+=("$name")
  fi
}

format() {
  local unformatted
  unformatted=$(go tool -modfile="$tools" gofumpt -l .) || return
  [[ -z $unformatted ]] || { printf 'not in gofumpt'\''s format:\n%s\n' "$unformatted"; return 1; }
}

check 'gofumpt' format
for module in "${modules[@]}"; do
  check "go mod tidy ($module)" go -C "$module" mod tidy -diff
  check "go vet ($module)" go -C "$module" vet ./...
done
for module in "${pins[@]}"; do
  check "go mod tidy ($module)" go -C "$module" mod tidy -diff
done
for file in test/lab/kubernetes-*.mod; do
  check "go mod tidy ($file)" go -C test/lab mod tidy -modfile="${file##*/}" -diff
done
check 'go vet -tags e2e' go vet -tags e2e ./...
# The lab is left to vet: it links all of Kubernetes, which takes staticcheck minutes.
check 'staticcheck' go tool -modfile="$tools" staticcheck -tags e2e ./...
check 'staticcheck (hack/tools)' go -C hack/tools tool staticcheck ./...
check 'staticcheck (test/monitoring)' go -C test/monitoring tool -modfile="$tools" staticcheck ./...
check 'manifests' hack/manifests.sh --check
check 'licences' go run -C hack/tools ./licences -dir "$PWD" -o THIRD_PARTY.md -check
check 'import table' go test -count=1 ./test/imports
check 'objects in manifests' go test -count=1 ./test/manifests

if ((${#failed[@]})); then
  printf 'check failed: %s\n' "${failed[@]}" >&2
  exit 1
fi
echo 'all checks passed'
