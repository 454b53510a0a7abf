#!/usr/bin/env bash
# Runs the whole e2e suite with other Dockers, one after the other; NAME is that
# of run.sh, and arguments after -- go to the test binary. Prints what go test
# -json would.
#
#   test/dockers/suite.sh NAME... [-- ARGUMENT...]
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
go=$(command -v go || echo /usr/local/go/bin/go)
names=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	names+=("$1")
	shift
done
shift || true
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export CHECKPOINTCTL_DOCKERS_BUNDLE=$tmp/bundle
"$here/../bundle.sh" "$CHECKPOINTCTL_DOCKERS_BUNDLE"
chmod 755 "$tmp" # a test runs as nobody
failed=0
trap 'exit 130' INT
for name in "${names[@]}"; do
	# When this is killed, that one ends and cleans up.
	setpriv --pdeathsig TERM "$here/run.sh" "$name" -test.timeout 40m "$@" | "$go" tool test2json -t -p "docker$name" || failed=1
done
exit "$failed"
