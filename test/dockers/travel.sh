#!/usr/bin/env bash
# Takes checkpoints of real programs from one Docker to another, which has another
# data root, network namespace and version: the e2e tests named Travels do one half
# with each. FROM and TO are names of run.sh, or host, the host's own Docker.
#
#   test/dockers/travel.sh FROM TO
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ $# = 2 ] || { echo "usage: $0 FROM TO" >&2; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
chmod 755 "$tmp"
bundle=${CHECKPOINTCTL_DOCKERS_BUNDLE:-$tmp/bundle}
[ -e "$bundle/images.tar.names" ] || "$here/../bundle.sh" "$bundle"
export CHECKPOINTCTL_DOCKERS_BUNDLE=$bundle
rm -rf "$bundle/archives"
mkdir "$bundle/archives"
trap 'rm -rf "$tmp" "$bundle/archives"' EXIT

half() { # VARIABLE NAME
	echo "travel: $1 with $2" >&2
	if [ "$2" = host ]; then
		env "$1=$bundle/archives" "$here/host.sh" -test.run Travels
	else
		env "$1=/e2e/archives" "$here/run.sh" "$2" -test.run Travels
	fi
}

half CHECKPOINTCTL_E2E_SAVE_ARCHIVES "$1"
half CHECKPOINTCTL_E2E_ARCHIVES "$2"
