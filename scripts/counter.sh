#!/bin/sh
# Makes an image of busybox's sh and sleep, for containers that count: counter.sh IMAGE
set -eu
if ! [ -x /bin/busybox ] || ldd /bin/busybox >/dev/null 2>&1; then
	apt-get install -qq -y --no-install-recommends busybox-static >/dev/null
fi
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
mkdir "$root/bin"
cp /bin/busybox "$root/bin/busybox"
for a in sh sleep; do ln -s busybox "$root/bin/$a"; done
tar -C "$root" -c . | docker import - "$1" >/dev/null
