#!/usr/bin/env bash
# Usage: images.sh NAME:TAG MAX_MB OUT BINARY...
# Makes the images of PLATFORMS, and their bills of materials, in the folder OUT, with the sums of all of them in OUT/SHA256SUMS. The
# same tree gives the same bytes, wherever it lies.
set -euo pipefail
cd "$(dirname "$0")/.."

image=$1 max_mb=$2 out=$3
shift 3

rm -rf "$out"
for platform in ${PLATFORMS:-amd64 arm64 arm/v7}; do
  name=${platform/\//-}
  echo "building for $platform" >&2
  for binary; do
    CGO_ENABLED=0 GOOS=linux GOARCH=${platform%%/*} GOARM=7 \
      go build -trimpath -buildvcs=false -ldflags "$LDFLAGS" -o "$out/$name/$binary" "./cmd/$binary"
  done
  hack/image.sh "$image" "$platform" "$max_mb" "$out/$name" "$out/invar-$name" "$@"
  rm -r "${out:?}/$name"
done
(cd "$out" && sha256sum invar-* >SHA256SUMS)
