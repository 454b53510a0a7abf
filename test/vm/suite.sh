#!/usr/bin/env bash
# Runs the whole e2e suite in two VMs side by side, half in each: a VM has one
# CPU, and what runs in it is ten times slower than outside.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
half='TestKinds|TestContainersThat|TestTenRounds|TestContainerLeaves|TestEncrypted|TestVerify|TestInterrupt|TestKillBetweenRounds|TestDockerKnows'
"$here/build.sh" >/dev/null

part() { # NAME ARGUMENT...
	local name=$1
	shift
	"$here/run.sh" "$@" 2>&1 | stdbuf -oL grep -vE '^=== (PAUSE|CONT|NAME|RUN)' | stdbuf -oL sed "s/^/$name| /"
}
part vm1 -test.run "$half" &
one=$!
part vm2 -test.notrun "$half" &
two=$!
failed=0
wait "$one" || failed=1
wait "$two" || failed=1
exit "$failed"
