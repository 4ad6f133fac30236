#!/usr/bin/env bash
# Runs what Kubernetes' own end-to-end suite has about load balancers on a fresh lab, see test/kubernetes; a line of JSON on
# stdout tells the result. RUN=REGEXP runs only the specs that match. Needs bin/lab and bin/invar-image.tar.
set -euo pipefail
cd "$(dirname "$0")/.."

upstream=test/kubernetes/upstream out=$PWD/bin/kubernetes

# image TAR ENTRYPOINT TAGS HOSTFILE:/path/in/image... makes an image without a registry. It adds the shared libraries that the
# programs need.
image() {
  local args=(-o "$1" -entrypoint "$2") tags=$3 tag library
  shift 3
  for tag in $tags; do args+=(-tag "$tag"); done
  for library in $(ldd "${@%:*}" 2>/dev/null | grep -o '/[^ :]*\.so[^ :]*' | sort -u); do args+=("$library:$library"); done
  go run -C hack/tools ./mkimage "${args[@]}" "$@"
}

# build builds the suite, and what its pods run. Nearly all run agnhost. The suite runs lines of shell in them, for which they have
# some of this machine's own commands: the nc must be OpenBSD's, and wget may not try again, as it is not BusyBox's. Without flags
# of their own the packages of Kubernetes are those that the lab is built of, and not compiled again.
build() {
  echo "building Kubernetes' suite: minutes for the first time"
  mkdir -p "$out"
  go build -C "$upstream" -ldflags '-s -w' -o "$out/" github.com/onsi/ginkgo/v2/ginkgo k8s.io/kubernetes/test/images/agnhost
  go test -C "$upstream" -c -ldflags "$(hack/kubernetes-ldflags.sh "$upstream/go.mod")" -o "$out/e2e.test" k8s.io/kubernetes/test/e2e
  go build -C test/kubernetes/coredns -ldflags '-s -w' -o "$out/" .
  go build -o "$out/suite" ./test/kubernetes
  "$out/suite" -check # before a lab is brought up for nothing
  image "$out/agnhost.tar" /agnhost "$("$out/e2e.test" --list-images | grep '/e2e-test-images/agnhost:' | sort -u)" \
    "$out/agnhost:/agnhost" /bin/sh:/bin/sh /bin/nc.openbsd:/bin/nc /usr/bin/curl:/bin/curl /usr/bin/wget:/bin/wget /usr/bin/seq:/bin/seq \
    test/kubernetes/wgetrc:/etc/wgetrc
  image "$out/coredns.tar" /coredns invar-lab/coredns:v1 "$out/coredns:/coredns"
}

build >&2
LAB_NAME=${SUITE_LAB:-kubernetes} exec hack/with-lab.sh "$out/suite" ${RUN:+-run "$RUN"}
