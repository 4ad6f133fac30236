#!/usr/bin/env bash
# Usage: reproduce.sh NAME:TAG MAX_MB BINARY...
# Makes the images of PLATFORMS twice, here and in a copy of the tree that lies elsewhere and has an empty build cache, and fails if a byte
# differs.
set -euo pipefail
cd "$(dirname "$0")/.."

image=$1 max_mb=$2
shift 2
copy=$(mktemp -d)
trap 'chmod -R u+w "$copy"; rm -rf "$copy"' EXIT

hack/images.sh "$image" "$max_mb" bin/images "$@"
mkdir "$copy/tree"
git ls-files -z --cached --others --exclude-standard | xargs -0 tar -c | tar -x -C "$copy/tree"
GOCACHE=$copy/cache "$copy/tree/hack/images.sh" "$image" "$max_mb" bin/images "$@"
diff bin/images/SHA256SUMS "$copy/tree/bin/images/SHA256SUMS"
echo "built twice, with the same $(wc -l <bin/images/SHA256SUMS) sums:"
cat bin/images/SHA256SUMS
