#!/usr/bin/env bash
# Runs the e2e suite with another Docker than the host's, beside it: in a root
# and in namespaces of its own, on the host's kernel. NAME is
#
#   26             Docker of Debian 13
#   28             Docker of Debian unstable
#   28-containerd  the same with the containerd image store
#   28-cgroup2     the same with cgroup v2 alone; its controllers are missing there
#                  if the host uses them with v1
#   25, 27         Docker built from its sources, with Debian 13's containerd
#   29             Docker, containerd and runc built from their sources
#
# Arguments go to the test binary, before all to choose tests:
#
#   test/dockers/run.sh 28 -test.run TestPreDump
#
# CHECKPOINTCTL_DOCKERS_BUNDLE names a directory that bundle.sh made, if there is
# one.
#
# Ends as the test binary does, and fails if no test ran. Leaves nothing behind;
# what a run that was killed by SIGKILL left, the next one removes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=${1-}
case $name in
25 | 26 | 27) suite=trixie ;;
28 | 28-containerd | 28-cgroup2 | 29) suite=sid ;;
*) echo "usage: $0 25|26|27|28|28-containerd|28-cgroup2|29 [ARGUMENT...]" >&2; exit 2 ;;
esac
shift
[ "$(id -u)" = 0 ] || { echo "dockers: must run as root" >&2; exit 1; }

cache=${CHECKPOINTCTL_DOCKERS_CACHE:-/var/cache/checkpointctl}
root=$("$here/build.sh" "$suite")
case $name in
25 | 27 | 29) root=$("$here/compile.sh" "$name"):$root ;;
esac

# Prints where this machine's cgroup hierarchies are mounted.
hierarchies() { findmnt -rn -o TARGET -t cgroup,cgroup2; }

# Ends what a run started and removes its directory. A process that is frozen
# dies when it is let run on.
remove() { # DIRECTORY
	local h found
	for _ in $(seq 300); do
		found=()
		for h in $(hierarchies); do
			[ ! -d "$h/checkpointctl-${1##*/}" ] || found+=("$h/checkpointctl-${1##*/}")
		done
		[ ${#found[@]} != 0 ] || break
		find "${found[@]}" -name freezer.state -exec sh -c 'echo THAWED >"$1"' sh {} \; || true
		# shellcheck disable=SC2046 # pids
		kill -KILL $(find "${found[@]}" -name cgroup.procs -exec cat {} +) || true
		find "${found[@]}" -depth -type d -exec rmdir {} \; || true
		sleep 0.1
	done 2>/dev/null
	[ ${#found[@]} = 0 ] || echo "dockers: left over: ${found[*]}" >&2
	rm -rf "$1"
}

for old in "$cache"/run-*; do
	[ -d "$old" ] || continue
	exec 9<"$old"
	! flock -n 9 || remove "$old"
done
work=$(mktemp -d "$cache/run-XXXXXX")
exec 9<"$work"
flock 9
child=
# shellcheck disable=SC2317 # trap runs it
finish() {
	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		# Loop devices outlive what set them up. These are of files that are there.
		# shellcheck disable=SC2016 # it is for that shell
		nsenter -t "$(pgrep -P "$child")" -m sh -c 'losetup -ln -O NAME,BACK-INO,BACK-FILE | while read -r device inode file; do
			[ "$(stat -c %i "$file")" != "$inode" ] || losetup -d "$device"
		done' 2>/dev/null || true
		kill -KILL "$child" 2>/dev/null || true
	fi
	remove "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
chmod 755 "$work" # a test runs as nobody

bundle=${CHECKPOINTCTL_DOCKERS_BUNDLE:-}
if [ -z "$bundle" ]; then
	bundle=$work/bundle
	"$here/../bundle.sh" "$bundle"
fi

# One group in each hierarchy holds all that runs, which sees nothing above it.
group=checkpointctl-${work##*/}
for h in $(hierarchies); do
	mkdir -p "$h/$group"
	for file in cpuset.cpus cpuset.mems; do
		[ ! -f "$h/$file" ] || cat "$h/$file" >"$h/$group/$file"
	done
done

mkfifo "$work/pipe"
tee "$work/output" <"$work/pipe" &
tee=$!
# Here, so that a signal is acted on at once. Bash lets what it starts in the
# background ignore SIGINT, which containers would inherit.
(
	exec 9<&-
	exec env --default-signal setpriv --pdeathsig KILL \
		unshare --mount --net --pid --ipc --uts --fork --kill-child \
		"$here/inside.sh" join "$group" "$name" "$root" "$work" "$bundle" "$@"
) >"$work/pipe" &
child=$!
code=0
wait "$child" || code=$?
child=
wait "$tee"
if ! grep -q '=== RUN' "$work/output"; then
	echo "dockers: no test ran" >&2
	[ "$code" != 0 ] || code=1
fi
exit "$code"
