#!/usr/bin/env bash
# Usage: image.sh NAME:TAG ARCH[/VARIANT] MAX_MB FOLDER OUT BINARY...
# Makes the image OUT.tar of FOLDER/BINARY..., as the Dockerfile does, and its bill of materials OUT.spdx.json. Fails when the tar
# has more than MAX_MB megabytes.
set -euo pipefail
cd "$(dirname "$0")/.."

image=$1 platform=$2 max_mb=$3 folder=$4 out=$5
shift 5

# The labels are the Dockerfile's: LABEL name="value".
labels=()
while IFS= read -r label; do
  labels+=(-label "${label//\$VERSION/$VERSION}")
done < <(sed -n 's/^LABEL \([^=]*\)="\(.*\)"$/\1=\2/p' Dockerfile)

files=(LICENSE:/LICENSE bin/THIRD_PARTY.txt:/THIRD_PARTY.txt)
for binary; do
  files+=("$folder/$binary:/$binary")
done
variant=
[[ $platform != */* ]] || variant=${platform#*/}

go run -C hack/tools ./licences -dir "$PWD" -texts bin/THIRD_PARTY.txt
go run -C hack/tools ./mkimage -dir "$PWD" -tag "$image" -arch "${platform%%/*}" -variant "$variant" -user 65534:65534 \
  "${labels[@]}" -max-mb "$max_mb" -sbom "$out.spdx.json" -licences THIRD_PARTY.md -o "$out.tar" "${files[@]}"
