#!/bin/busybox sh
# The first process of the guest that guest.sh starts. The kernel hands on FILES, the folder with its modules, and COMMAND.
set -e
/bin/busybox --install -s /bin
mkdir -p /proc /host /new
for module in /modules/*; do insmod "$module"; done

# The machine's files, which can only be read, below a layer in memory.
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=262144,ro host /host
mount -t tmpfs none /new
mkdir /new/upper /new/work /new/root
mount -t overlay -o lowerdir=/host,upperdir=/new/upper,workdir=/new/work none /new/root
cd /new/root
mount -t proc none proc
mount -t sysfs none sys
mount -t devtmpfs none dev
mount -t tmpfs none run
mkdir -p dev/shm
mount -t tmpfs none dev/shm
mkdir -p lib/modules
ln -s "$FILES" "lib/modules/$(uname -r)"
ip link set lo up
exec switch_root /new/root /bin/bash "$COMMAND"
