#!/usr/bin/env bash
# Installs the CRIU of another suite as /usr/local/sbin/criu, without upgrading
# anything, on this machine or in the root of another one.
#
#   scripts/install-criu.sh SUITE [ROOT]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=${2-}
prefix=/usr/local/lib/checkpointctl
mkdir -p "$root$prefix" "$root/usr/local/sbin"
"$here/unpack.sh" "$root$prefix/criu" "$1" criu
# A wrapper, since CRIU must run on the libc it came with.
cat >"$root$prefix/criu.sh" <<'WRAP'
#!/bin/sh
r=/usr/local/lib/checkpointctl/criu
for l in "$r"/usr/lib/*-linux-gnu*; do break; done
for ld in "$r"/lib64/ld-linux-*.so.* "$r"/usr/lib64/ld-linux-*.so.* "$l"/ld-linux-*.so.* "$r"/usr/lib/ld-linux-*.so.*; do
	[ -e "$ld" ] && exec "$ld" --argv0 criu --library-path "$l" "$r/usr/sbin/criu" "$@"
done
echo "criu: no loader under $r" >&2
exit 127
WRAP
chmod 755 "$root$prefix/criu.sh"
ln -sfn "$prefix/criu.sh" "$root/usr/local/sbin/criu"
