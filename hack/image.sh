#!/usr/bin/env bash
# Usage: image.sh NAME:TAG ARCH MAX_MB BINARY...
# Makes bin/invar-image.tar of bin/BINARY..., as the Dockerfile does. Fails when the tar has more than MAX_MB megabytes.
set -euo pipefail
cd "$(dirname "$0")/.."

image=$1 arch=$2 max_mb=$3
shift 3

# The labels are the Dockerfile's: LABEL name="value".
labels=()
while IFS= read -r label; do
  labels+=(-label "${label//\$VERSION/$VERSION}")
done < <(sed -n 's/^LABEL \([^=]*\)="\(.*\)"$/\1=\2/p' Dockerfile)

files=()
for binary; do
  files+=("bin/$binary:/$binary")
done

go run -C hack/tools ./mkimage -dir "$PWD" -tag "$image" -arch "$arch" -user 65534:65534 "${labels[@]}" \
  -max-mb "$max_mb" -o bin/invar-image.tar "${files[@]}"
