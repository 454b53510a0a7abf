#!/usr/bin/env bash
# Makes FILE, the disk with what a VM runs: the e2e suite built from this tree,
# what make install installs, and Docker's directory with the images that the
# suite built on this host.
# Loading them takes minutes in emulation, so a dockerd of its own does it here.
#
#   test/vm/job.sh FILE
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
dockerd=
trap '[ -z "$dockerd" ] || kill "$dockerd"; rm -rf "$tmp"' EXIT
job=$tmp/job
mkdir -p "$job/test" "$job/docker"
CHECKPOINTCTL_E2E_TAGS=${CHECKPOINTCTL_VM_TAGS:-} "$here/../bundle.sh" "$job"
mv "$job"/images.tar* "$tmp"
make -s -C "$here/../.." install DESTDIR="$job/install"

# In namespaces of its own: it would remove the host's docker0, and all that it
# starts ends with it.
sock=unix://$tmp/sock
echo {} >"$tmp/config.json"
unshare --net --mount --pid --fork --mount-proc --kill-child \
	dockerd --data-root "$job/docker" --exec-root "$tmp/exec" --pidfile "$tmp/pid" -H "$sock" \
	--config-file "$tmp/config.json" --storage-driver overlay2 --bridge none --iptables=false >"$tmp/log" 2>&1 &
dockerd=$!
for _ in $(seq 100); do
	docker -H "$sock" version >/dev/null 2>&1 && break
	sleep 0.2
done
docker -H "$sock" load -q -i "$tmp/images.tar" >/dev/null || { cat "$tmp/log" >&2; exit 1; }
kill "$(pgrep -P "$dockerd")"
wait "$dockerd"
dockerd=

cat >"$job/run" <<RUN
#!/bin/sh
export CHECKPOINTCTL_E2E_BINARY=/job/bin/checkpointctl CHECKPOINTCTL_E2E_SLOW=10
export CHECKPOINTCTL_E2E_IMAGES='$(cat "$tmp/images.tar.names")'
cd /job/test
/job/e2e.test -test.v=test2json "\$@"
code=\$?
[ \$code = 0 ] || { echo "vm: Docker's log and the kernel's:"; journalctl --no-pager -o cat -n 60 -u docker; dmesg | tail -n 20; }
exit \$code
RUN
chmod +x "$job/run"
# What containers write goes there, too.
mke2fs -q -t ext4 -d "$job" "$1" 8G >/dev/null
