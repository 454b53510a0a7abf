#!/usr/bin/env bash
# Runs the whole e2e suite with other Dockers, one after the other; NAME is that
# of run.sh, and arguments after -- go to the test binary. Prints what go test
# -json would.
#
#   test/dockers/suite.sh NAME[=TESTS]... [-- ARGUMENT...]
#
# With TESTS, a pattern as for -test.run, only these are run with that Docker.
# The tests named Travels need two Dockers. Where host is among the names, the host's
# own Docker runs their first half, and each Docker after it the second.
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
run() { # NAME COMMAND...
	# When this is killed, the command ends; run.sh cleans up.
	setpriv --pdeathsig TERM "${@:2}" | "$go" tool test2json -t -p "docker$1" || failed=1
}
skip=(-test.skip Travels)
archives=$CHECKPOINTCTL_DOCKERS_BUNDLE/archives
for name in "${names[@]}"; do
	if [ "$name" = host ]; then
		mkdir "$archives"
		run host env CHECKPOINTCTL_E2E_SAVE_ARCHIVES="$archives" "$here/host.sh" -test.run Travels
		export CHECKPOINTCTL_E2E_ARCHIVES=/e2e/archives # where run.sh shows them
		skip=()
	else
		tests=() # the last -test.run is the one that counts
		[ "${name#*=}" = "$name" ] || tests=(-test.run "${name#*=}")
		name=${name%%=*}
		run "$name" "$here/run.sh" "$name" -test.timeout 40m "${skip[@]}" "$@" "${tests[@]}"
	fi
done
exit "$failed"
