#!/usr/bin/env bash
# Usage: lane-upgrade.sh
# Makes in bin/lanes/upgrade what ./test/lanes/upgrade installs beside this tree's Invar: MetalLB's release, built from its module
# with the dependencies that it names itself, and its own manifests; and Invar as it was at the commit FROM, with its manifest.
# What is there already is kept.
set -euo pipefail
cd "$(dirname "$0")/.."

# The last commit before speakers told the controller what they announce: it has a message of the gossip less.
from=${FROM:-07a411fde86206633a9605fa15561c2e06c2fe1a}
metallb=go.universe.tf/metallb@v0.12.1
metallb_sum=h1:zHaGPnfnQUHBRf4LD6ISyvklnGbkPftuyAvU/41CuBg=
out=bin/lanes/upgrade
mkdir -p "$out"

tmp=$(mktemp -d)
finish() {
  chmod -R u+w "$tmp" # the module cache is read-only, and so are copies of it
  rm -rf "$tmp"
}
trap finish EXIT

# build FOLDER OUT PACKAGE... builds static binaries with the go.mod of FOLDER.
build() {
  local folder=$1 to=$2
  shift 2
  CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -C "$folder" -trimpath -ldflags "$LDFLAGS" -o "$to/" "$@"
}

# pack NAME:TAG TAR BINARY... makes an image of binaries. With a single one, that is what it runs.
pack() {
  local tag=$1 tar=$2 files=() entry=()
  shift 2
  [[ $# -gt 1 ]] || entry=(-entrypoint "/$(basename "$1")")
  for binary; do
    files+=("$binary:/$(basename "$binary")")
  done
  go run -C hack/tools ./mkimage -dir "$PWD" -tag "$tag" -arch "$(go env GOARCH)" "${entry[@]}" -o "$tar" "${files[@]}"
}

metallb() {
  local module=$out/metallb dir sum
  [[ ! -e $module/done ]] || return 0
  rm -rf "$module"
  mkdir -p "$module"
  read -r dir sum < <(cd "$tmp" && go mod download -json "$metallb" | sed -n 's/^\t"\(Dir\|Sum\)": "\(.*\)",*$/\2/p' | paste -sd ' ')
  [[ $sum == "$metallb_sum" ]] || { echo "lane-upgrade: $metallb has the sum $sum, want $metallb_sum" >&2; return 1; }
  cp -r "$dir" "$tmp/metallb"
  chmod -R u+w "$tmp/metallb"
  LDFLAGS='-s -w' build "$tmp/metallb" "$tmp/metallb-bin" ./controller ./speaker
  pack quay.io/metallb/controller:v0.12.1 "$module/controller.tar" "$tmp/metallb-bin/controller"
  pack quay.io/metallb/speaker:v0.12.1 "$module/speaker.tar" "$tmp/metallb-bin/speaker"
  cp "$tmp"/metallb/manifests/{namespace,metallb}.yaml "$module"
  touch "$module/done"
}

former() {
  local commit to=$out/from
  commit=$(git rev-parse --verify --quiet "$from^{commit}") || {
    echo "lane-upgrade: this clone has no commit $from to upgrade from: is it a shallow one? Fetch the history with" \
      "\"git fetch --unshallow\", or name another commit: FROM=COMMIT" >&2
    return 1
  }
  [[ $(cat "$to/commit" 2>/dev/null) != "$commit" ]] || return 0
  rm -rf "$to"
  mkdir -p "$to" "$tmp/from"
  git archive "$commit" | tar -x -C "$tmp/from"
  LDFLAGS="-s -w -X github.com/invar-lb/invar/pkg/daemon.Version=from-${commit::12}" \
    build "$tmp/from" "$tmp/from-bin" ./cmd/controller ./cmd/speaker
  pack ghcr.io/invar-lb/invar:from "$to/invar.tar" "$tmp"/from-bin/{controller,speaker}
  sed 's|image: ghcr.io/invar-lb/invar:.*|image: ghcr.io/invar-lb/invar:from|' "$tmp/from/manifests/invar.yaml" >"$to/invar.yaml"
  echo "$commit" >"$to/commit"
}

metallb
former
