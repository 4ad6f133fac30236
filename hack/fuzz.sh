#!/usr/bin/env bash
# Fuzzes every target of the project for FUZZTIME each, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."

fuzztime=${FUZZTIME:-30s}
found=0
while IFS=: read -r file name; do
  found=$((found + 1))
  echo "--- fuzz: $name in $(dirname "$file") for $fuzztime"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$fuzztime" "./$(dirname "$file")"
done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' cmd pkg test | sed 's/func //' | sort)
((found)) || { echo 'no fuzz target found' >&2; exit 1; }
echo "fuzzed $found targets, nothing found"
