#!/usr/bin/env bash
# Runs the session of README's picture on a real container, and draws it into
# docs/demo.svg. The container and its image are called as in the picture: it refuses to
# run where there are such, and removes them at the end.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
go=$(command -v go || echo /usr/local/go/bin/go)
for kind in container image; do
	if docker "$kind" inspect myapp >/dev/null 2>&1; then
		echo "picture: there is a $kind myapp already" >&2
		exit 1
	fi
done
tmp=$(mktemp -d)
cleanup() {
	[ $? = 0 ] || cat "$tmp/session" >&2
	docker rm -f myapp >/dev/null 2>&1 || true
	docker rmi myapp >/dev/null 2>&1 || true
	rm -rf "$tmp"
}
trap cleanup EXIT
export PATH=$top/bin:$PATH CHECKPOINTCTL_DIR=$tmp/store

"$top/scripts/counter.sh" myapp

# step runs a command as if it was typed.
step() {
	printf '# %s\n' "$1"
	eval "$1" 2>&1
}
counter() { docker logs --tail 1 myapp; }

{
	step "docker run -d --name myapp myapp sh -c 'while sleep 0.1; do echo \$((i+=1)); done'"
	sleep 2
	step 'checkpointctl checkpoint myapp --name before-upgrade --leave-running=false'
	counter >"$tmp/before"
	step 'docker logs --tail 1 myapp'
	step 'checkpointctl show myapp ps'
	step 'checkpointctl restore myapp before-upgrade'
	sleep 1
	counter >"$tmp/after"
	step 'docker logs --tail 1 myapp'
} >"$tmp/session"
before=$(cat "$tmp/before") after=$(cat "$tmp/after")
[ "$after" -gt "$before" ] && [ "$after" -lt $((before + 100)) ] || {
	echo "picture: it did not go on from $before: $after" >&2
	exit 1
}
cd "$top"
"$go" run ./test/picture <"$tmp/session" >"$tmp/demo.svg"
mv "$tmp/demo.svg" docs/demo.svg
chmod 644 docs/demo.svg
