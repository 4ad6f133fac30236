#!/usr/bin/env bash
# Usage: deps.sh GROUP...
# Installs the Debian packages that are missing for the groups: cc (the race detector), browser (the status page's
# tests), lab (the cluster in network namespaces and the tests on real links), suite (commands that Kubernetes' own suite runs in
# its pods), kernel (a virtual machine with Debian's kernel, and what configures its IPVS). Silent and quick when all is there.
set -euo pipefail

# needed GROUP prints lines "FILE-OR-COMMAND PACKAGE".
needed() {
  case $1 in
    cc) echo 'gcc gcc
/usr/include/stdlib.h libc6-dev' ;;
    browser) echo 'chromium chromium
chromedriver chromium-driver' ;;
    lab) echo 'ip iproute2
nft nftables
iptables iptables
ipset ipset
conntrack conntrack
containerd containerd
runc runc
/usr/lib/cni/bridge containernetworking-plugins
arping arping
ndisc6 ndisc6
tcpdump tcpdump' ;;
    suite) echo '/usr/bin/curl curl
/usr/bin/wget wget
/bin/nc.openbsd netcat-openbsd' ;;
    kernel) echo 'qemu-system-x86_64 qemu-system-x86
/bin/busybox busybox-static
depmod kmod
cpio cpio
ip iproute2
arping arping
ipvsadm ipvsadm' ;;
    *) echo "deps.sh: no group $1" >&2; return 1 ;;
  esac
}

export PATH=$PATH:/usr/sbin:/sbin
missing=()
for group; do
  list=$(needed "$group")
  while read -r what package; do
    [[ -e $what ]] || command -v "$what" >/dev/null || missing+=("$package")
  done <<<"$list"
done
((${#missing[@]})) || exit 0

if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
  echo "please install: ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}; this may take minutes" >&2

# Debian starts the services that it installs. Nothing here uses its containerd, so none is started.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2; }
# The list of packages may be empty or old: asking for a new one is slow, so only if it must be.
install || { apt-get update -qq >&2 && install; } || {
  echo "deps.sh: could not install ${missing[*]}; apt-get says above why" >&2
  exit 1
}
