#!/usr/bin/env bash
# Shows the main job on a real container: it counts, is checkpointed, stopped,
# restored, and counts on from where it was. Removes what it made.
#
#   scripts/demo.sh            installs what is missing first
#   scripts/demo.sh --no-setup
#
# CHECKPOINTCTL names another binary than the one of make build.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
if [ "${1-}" != --no-setup ]; then
	"$top/scripts/setup.sh" --no-smoke
fi
ctl=${CHECKPOINTCTL:-$top/bin/checkpointctl}
name=checkpointctl-demo-$$
store=$(mktemp -d)
cleanup() {
	docker rm -f "$name" >/dev/null 2>&1 || true
	docker rmi "$name" >/dev/null 2>&1 || true
	rm -rf "$store"
}
trap cleanup EXIT

step() { printf '\n$ %s\n' "$*"; "$@"; }
counter() { docker logs --tail 1 "$name"; }

"$top/scripts/counter.sh" "$name"

step docker run -d --name "$name" "$name" sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'
sleep 2
step "$ctl" --dir "$store" checkpoint "$name" --leave-running=false
before=$(counter)
echo "the container is $(docker inspect -f '{{.State.Status}}' "$name"); it had counted to $before"
step "$ctl" --dir "$store" list
step "$ctl" --dir "$store" restore "$name"
sleep 1
after=$(counter)
echo "the container is $(docker inspect -f '{{.State.Status}}' "$name"); it counts on: $after"
[ "$after" -gt "$before" ] && [ "$after" -lt $((before + 100)) ] || { echo "demo: it did not go on from $before" >&2; exit 1; }
echo "demo: passed"
