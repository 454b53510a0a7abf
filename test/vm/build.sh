#!/usr/bin/env bash
# Builds the VM that the e2e suite runs in: Debian 13 with its stock kernel
# (which has soft-dirty), systemd, Docker, CRIU and runc, on cgroup v2, and what
# is in root/. Prints the directory with vmlinuz and root.ext4, which is kept and
# used again until this script, root/ or debian-root.sh changes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
suite=trixie
cache=${CHECKPOINTCTL_VM_CACHE:-/var/cache/checkpointctl}
recipe=$(cd "$here" && find build.sh root ../../scripts/debian-root.sh -type f -exec sha256sum {} + | sort)
dir=$cache/vm-$(sha256sum <<<"$recipe" | cut -c1-12)
if [ -f "$dir/root.ext4" ]; then
	echo "$dir"
	exit 0
fi

say() { printf 'vm: %s\n' "$*" >&2; }
missing=
for p in qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs; do
	command -v "${p%:*}" >/dev/null || missing="$missing ${p#*:}"
done
if [ -n "$missing" ]; then
	say "installing$missing"
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
fi

say "building $suite in $dir"
mkdir -p "$cache"
tmp=$(mktemp -d "$cache/build-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
# The kernel is unpacked, not installed: it needs no initrd and no boot loader.
cat >"$tmp/hook.sh" <<'HOOK'
#!/bin/sh
set -e
cd "$1/tmp"
package=$(chroot "$1" apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
chroot "$1" sh -c "cd /tmp && apt-get -o APT::Sandbox::User=root download -qq $package"
dpkg-deb -x "$1"/tmp/linux-image-*.deb "$1"
rm -f "$1"/tmp/linux-image-*.deb
[ -d "$1/lib/modules" ] || { echo "no modules" >&2; exit 1; }
chroot "$1" depmod "$(basename "$1"/lib/modules/*)"
chroot "$1" systemctl enable vm-disk vm-tests
# The console is for the tests, and nothing is to start beside them.
chroot "$1" systemctl mask getty.target timers.target
HOOK
chmod +x "$tmp/hook.sh"
"$here/../../scripts/debian-root.sh" "$suite" "$tmp/root" \
	systemd-sysv,criu,docker.io,docker-cli,containerd,runc,busybox-static,iproute2,iptables,kmod,procps \
	--customize-hook="sync-in $here/root /" --customize-hook="$tmp/hook.sh"
# One that is empty makes systemd ask at the first boot.
tr -d - </proc/sys/kernel/random/uuid >"$tmp/root/etc/machine-id"
mkdir "$tmp/vm"
cp "$tmp"/root/boot/vmlinuz-* "$tmp/vm/vmlinuz"
mke2fs -q -t ext4 -d "$tmp/root" "$tmp/vm/root.ext4" 8G >&2
rm -rf "$cache"/vm-* # older ones
mv "$tmp/vm" "$dir"
echo "$dir"
