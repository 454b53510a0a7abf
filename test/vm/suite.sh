#!/usr/bin/env bash
# Runs the whole e2e suite in two VMs side by side, half in each: a VM has one
# CPU, and what runs in it is ten times slower than outside. Prints what go test
# -json would.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
half='TestKinds|TestContainersThat|TestTenRounds|TestContainerLeaves|TestEncrypted|TestVerify|TestInterrupt|TestKillBetweenRounds|TestDockerKnows|TestPreDumpConverges|TestFiveCheckpoints'
go=$(command -v go || echo /usr/local/go/bin/go)
"$here/build.sh" >/dev/null

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export CHECKPOINTCTL_VM_JOB=$tmp/job.ext4
"$here/job.sh" "$CHECKPOINTCTL_VM_JOB"

part() { # NAME ARGUMENT...
	"$here/run.sh" "${@:2}" | "$go" tool test2json -t -p "$1"
}
part vm1 -test.run "$half" &
one=$!
part vm2 -test.notrun "$half" &
two=$!
failed=0
wait "$one" || failed=1
wait "$two" || failed=1
exit "$failed"
