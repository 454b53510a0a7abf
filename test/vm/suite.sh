#!/usr/bin/env bash
# Runs in a VM what needs another kernel: pre-dump, which needs soft-dirty, limits by
# cgroup v2's controllers, and what goes on over a reboot. All else runs natively, ten
# times as fast. Prints what go test -json would.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tests='PreDump|TenRounds|ContainerLeaves|KillBetweenRounds|TestReboot|TestKindsOfContainers/kinds/^limits$'
go=$(command -v go || echo /usr/local/go/bin/go)
"$here/build.sh" >/dev/null
export CHECKPOINTCTL_VM_TAGS=e2e,reboot
"$here/run.sh" -test.run "$tests" | "$go" tool test2json -t -p vm
