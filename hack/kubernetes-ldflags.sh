#!/usr/bin/env bash
# Usage: kubernetes-ldflags.sh FILE.mod
# Prints the linker's flags for programs of Kubernetes: they say the version that FILE.mod requires. Clients choke on the
# placeholder that they would say otherwise.
set -euo pipefail

version=$(sed -nE 's|^\s*k8s\.io/kubernetes (v[0-9.]+)$|\1|p' "$1")
[[ $version =~ ^v([0-9]+)\.([0-9]+)\. ]] || { echo "kubernetes-ldflags.sh: $1 requires no k8s.io/kubernetes" >&2; exit 1; }
base=k8s.io/component-base/version
echo "-s -w -X $base.gitVersion=$version -X $base.gitMajor=${BASH_REMATCH[1]} -X $base.gitMinor=${BASH_REMATCH[2]}" \
  "-X $base.gitTreeState=clean -X k8s.io/client-go/pkg/version.gitVersion=$version"
