#!/usr/bin/env bash
# Fails, and says what can be done, unless network namespaces can be made.
set -euo pipefail

if ((EUID != 0)); then
  echo 'this needs root, for network namespaces; `make test-unit` needs nothing but Go' >&2
  exit 1
fi
if ! unshare --net true 2>/dev/null; then
  echo 'root may not make network namespaces here; `make test-unit` needs nothing but Go' >&2
  exit 1
fi
