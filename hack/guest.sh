#!/usr/bin/env bash
# Usage: guest.sh SECONDS COMMAND [ARG...]
# Runs a command in a virtual machine with Debian's kernel, as root, in the working directory, and exits with its code; with 124
# if it takes more than SECONDS. The guest sees this machine's files, and what it writes stays in its memory; it has no network.
# The processor is emulated, so that it works the same with and without KVM. GUEST_MB (1024) is its memory, GUEST_CPUS (2) its
# processors.
set -euo pipefail

seconds=$1
shift
hack=$(cd "$(dirname "$0")" && pwd)
kernel=$(dirname "$hack")/bin/kernel
"$hack/kernel.sh" "$kernel"

run=$(mktemp -d "$kernel/run.XXXXXX")
trap 'rm -rf "$run"' EXIT

# What the guest executes once it sees these files, instead of an init.
{
  printf 'cd %q\n' "$PWD"
  printf 'export PATH=%q HOME=/root TMPDIR=/tmp\n' "$PATH:/usr/sbin:/sbin"
  printf '%q ' "$@"
  # shellcheck disable=SC2016
  printf '</dev/null\necho $? >/dev/ttyS1\nexec busybox poweroff -f\n'
} >"$run/command"

# The first files, in memory: the init, and the modules that it takes to see the others, in the order of their dependencies.
release=$(ls "$kernel/lib/modules")
mkdir -p "$run/first/bin" "$run/first/modules"
cp /bin/busybox "$run/first/bin/"
cp "$hack/guest-init.sh" "$run/first/init"
for module in virtio_pci 9pnet_virtio 9p overlay; do
  modprobe -d "$kernel" -S "$release" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
  n=$((${n:-100} + 1))
  cp "$file" "$run/first/modules/$n-$(basename "$file")"
done
(cd "$run/first" && find . | cpio -o -H newc --quiet >"$run/initrd")

status=0
timeout --kill-after=5 "$seconds" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp "${GUEST_CPUS:-2}" \
  -m "${GUEST_MB:-1024}" -nodefaults -no-user-config -display none -no-reboot -nic none \
  -serial stdio -serial "file:$run/code" \
  -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap -device virtio-9p-pci,fsdev=host,mount_tag=host \
  -kernel "$kernel/vmlinuz" -initrd "$run/initrd" \
  -append "console=ttyS0 quiet panic=-1 FILES=$kernel/lib/modules/$release COMMAND=$run/command" </dev/null | sed -u 's/\r$//' || status=$?

code=$(tr -dc '0-9' <"$run/code" 2>/dev/null) || true
if [[ -n $code ]]; then
  exit "$code"
elif ((status == 124)); then
  echo "guest.sh: not done after $seconds s" >&2
else
  echo 'guest.sh: the guest stopped early' >&2
fi
exit $((status ? status : 1))
