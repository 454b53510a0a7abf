#!/usr/bin/env bash
# Builds a root with the Docker of SUITE (trixie: 26.1, sid: 28.5) and CRIU.
# Prints its directory, which is kept and used again until this script or one
# that it runs changes.
#
#   test/dockers/build.sh SUITE
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
scripts=$here/../../scripts
suite=$1
cache=${CHECKPOINTCTL_DOCKERS_CACHE:-/var/cache/checkpointctl}
recipe=("$here/build.sh" "$scripts/debian-root.sh" "$scripts/install-criu.sh" "$scripts/unpack.sh")
dir=$cache/dockers-$suite-$(cat "${recipe[@]}" | sha256sum | cut -c1-12)
mkdir -p "$cache"
exec 9>"$cache/dockers-$suite.lock"
flock 9
if [ -d "$dir" ]; then
	echo "$dir"
	exit 0
fi

echo "dockers: building $suite in $dir" >&2
tmp=$(mktemp -d "$cache/build-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
packages=docker.io,docker-cli,containerd,runc,tini,busybox-static,iproute2,iptables,nftables,kmod,procps,mount,e2fsprogs,crun
"$scripts/debian-root.sh" "$suite" "$tmp/root" "$packages"
# Whatever the suite has: CRIU before 4.2 dumps no TCP sockets on Linux 6.16
# and newer.
"$scripts/install-criu.sh" sid "$tmp/root"
rm -rf "$cache/dockers-$suite"-* # older ones
mv "$tmp/root" "$dir"
echo "$dir"
