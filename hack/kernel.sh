#!/usr/bin/env bash
# Usage: kernel.sh FOLDER
# Fetches Debian's kernel into FOLDER, for a virtual machine: FOLDER/vmlinuz and, of its modules, those for files and networks in
# FOLDER/lib/modules. It is not installed: this machine's boot loader and modules stay as they are. Does nothing if it is there.
set -euo pipefail

folder=$1
[[ ! -e $folder/vmlinuz ]] || exit 0
[[ $(dpkg --print-architecture) == amd64 ]] || { echo 'kernel.sh: only for amd64' >&2; exit 1; }

# The name of the package with the newest kernel: linux-image-amd64 has nothing but a dependency on it.
newest() { apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }'; }

mkdir -p "$folder"
work=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
# The list of packages may be empty or old: asking for a new one is slow, so only if it must be.
fetch() { (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$(newest)" >&2); }
echo 'fetching the kernel of Debian' >&2
fetch || { apt-get update -qq >&2 && fetch; } || { echo 'kernel.sh: could not fetch it; apt-get says above why' >&2; exit 1; }

modules='./lib/modules/*'
dpkg-deb --fsys-tarfile "$work"/*.deb | tar -x -C "$work" --wildcards --no-wildcards-match-slash './boot/vmlinuz-*' \
  "$modules/modules.*" "$modules"/kernel/{arch,crypto,lib,net} "$modules"/kernel/fs/{9p,fscache,netfs,overlayfs} \
  "$modules"/kernel/drivers/{virtio,net/bonding,net/vxlan,net/*.ko}
release=$(ls "$work/lib/modules")
# Messages about what was left out are no news.
depmod -b "$work" "$release" 2>/dev/null
rm -rf "$folder/lib"
mv "$work/lib" "$folder/"
mv "$work/boot/vmlinuz-$release" "$folder/vmlinuz" # last: it says that all is there
